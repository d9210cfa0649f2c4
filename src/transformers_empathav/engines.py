"""What writes replies: a model in this process, or any server that speaks OpenAI's chat completions."""

import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from .data.replies import text_of
from .modeling.configuration_empathav import EmpathAVConfig
from .processing.processing_empathav import EmpathAVProcessor
from .responding import load_model


@dataclass(frozen=True)
class Sampling:
    r"""
    How replies are drawn.

    Args:
        temperature (`float`): 0 takes the likeliest token each time.
        top_p (`float`): Tokens are drawn from the likeliest that have this probability together.
        max_new_tokens (`int`): Longest reply; one that reaches it counts as truncated.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    max_new_tokens: int = 64


@dataclass(frozen=True)
class Written:
    """A reply, and why it ended: `stop` at its end, `length` in its middle, `prompt` where the prompt did not fit."""

    text: str
    finish_reason: str


class TransformersEngine:
    r"""
    A causal language model or an EmpathAV checkpoint in this process; a batch shares one run of `generate` with its
    cache of keys and values.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory or Hub id.
        adapter (`str` or `os.PathLike`, *optional*): A PEFT adapter for it, merged in.
        sampling ([`Sampling`]): How replies are drawn.
        device (`str` or `torch.device`, *optional*): CUDA where there is one by default.
        dtype (`str`, *optional*): Of the weights, `"bfloat16"` for example. By default the checkpoint's own, and on a
            CPU float32: where bfloat16 is emulated, float32 is several times faster.

    Raises:
        `ValueError`: the model has no chat template.
    """

    concurrency = 1

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        adapter: str | os.PathLike | None = None,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
        device: str | torch.device | None = None,
        dtype: str | None = None,
    ):
        self.sampling = sampling
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if dtype is None:
            dtype = "float32" if self.device.type == "cpu" else "auto"
        dtype = dtype if dtype == "auto" else getattr(torch, dtype)
        self.reads_clips = isinstance(AutoConfig.from_pretrained(checkpoint), EmpathAVConfig)
        if self.reads_clips:
            model, self.processor = load_model(checkpoint, dtype), EmpathAVProcessor.from_pretrained(checkpoint)
            self.tokenizer = self.processor.tokenizer
        else:
            model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
            if self.tokenizer.chat_template is None:
                raise ValueError(f"{checkpoint} has no chat template: take the model's instruction-tuned version.")
            if self.tokenizer.pad_token is None:
                self.tokenizer.pad_token = self.tokenizer.eos_token
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model = model.to(self.device).eval()
        self.positions = model.config.get_text_config().max_position_embeddings
        ends = model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        self.ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=self.device)

    @torch.no_grad()
    def write(self, prompts: Sequence[list[dict]], seeds: Sequence[int]) -> list[Written]:
        r"""
        One reply to each prompt.

        Args:
            prompts (`Sequence[list[dict]]`): Messages, the last one a user's.
            seeds (`Sequence[int]`): One a prompt; the first one seeds the draws of the whole batch, so a reply is the
                same again only in the same batch.
        """
        room = self.positions - self.sampling.max_new_tokens
        replies: list[Written | None] = [None] * len(prompts)
        fitting = list(range(len(prompts)))
        if self.reads_clips:
            inputs = self.processor.apply_chat_template(
                list(prompts), add_generation_prompt=True, tokenize=True, return_dict=True, max_length=room
            )
        else:
            texts = [
                self.tokenizer.apply_chat_template(as_text(prompt), add_generation_prompt=True, tokenize=False)
                for prompt in prompts
            ]
            ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            fitting = [index for index in fitting if len(ids[index]) <= room]
            replies = [Written("", "prompt") if len(row) > room else None for row in ids]
            if not fitting:
                return replies
            inputs = self.tokenizer.pad({"input_ids": [ids[index] for index in fitting]}, return_tensors="pt")
        sampling = {"do_sample": False}
        if self.sampling.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
            sampling["top_k"] = 0
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seeds[0])
            tokens = self.model.generate(
                **inputs.to(self.device),
                **sampling,
                max_new_tokens=self.sampling.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ended = torch.isin(tokens, self.ends).any(dim=1).tolist()
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        for index, text, end in zip(fitting, texts, ended):
            replies[index] = Written(text.strip(), "stop" if end else "length")
        return replies


class ServerEngine:
    r"""
    A server with `POST {url}/chat/completions`: vLLM, TGI, llama.cpp, `transformers serve`, or a hosted one.

    What may pass by itself is tried again, after a wait that doubles: no connection, no answer in time, status 408,
    409, 429 and 5xx, an answer that is not understood. Anything else ends the run with what the server said.

    Args:
        url (`str`): Up to and with `/v1`, such as `http://127.0.0.1:8000/v1`.
        model (`str`): As the server names it.
        sampling ([`Sampling`]): How replies are drawn.
        api_key (`str`, *optional*): Sent as a bearer token.
        concurrency (`int`): Conversations that are worked on at once.
        requests_per_second (`float`, *optional*): Bound on how fast requests begin.
        timeout (`float`): Seconds to wait for an answer.
        retries (`int`): Further tries of a request.
        backoff (`float`): Seconds before the second try; doubled each time up to a minute, less up to half at random.
        extra_body (`dict`, *optional*): Further fields of the request, such as `{"repetition_penalty": 1.1}`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
        api_key: str | None = None,
        concurrency: int = 8,
        requests_per_second: float | None = None,
        timeout: float = 120.0,
        retries: int = 6,
        backoff: float = 1.0,
        extra_body: dict | None = None,
    ):
        try:
            import requests
        except ImportError:
            raise ImportError("A server is asked by means of requests: pip install requests") from None
        self.requests, self.session = requests, requests.Session()
        self.session.mount("http", requests.adapters.HTTPAdapter(pool_maxsize=concurrency))
        self.session.auth = lambda request: request  # or a .netrc file would replace the key
        if api_key:
            self.session.headers["Authorization"] = f"Bearer {api_key}"
        self.endpoint = url.rstrip("/") + "/chat/completions"
        self.body = {
            "model": model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            **(extra_body or {}),
        }
        self.concurrency, self.timeout, self.retries, self.backoff = concurrency, timeout, retries, backoff
        self.interval = 1 / requests_per_second if requests_per_second else 0.0
        self.lock, self.next_start = threading.Lock(), 0.0

    def write(self, prompts: Sequence[list[dict]], seeds: Sequence[int]) -> list[Written]:
        """One reply to each prompt, each request with its own seed, which a server may or may not heed."""
        return [self._ask(as_text(prompt), seed) for prompt, seed in zip(prompts, seeds)]

    def _ask(self, messages: list[dict], seed: int) -> Written:
        body = {**self.body, "messages": messages, "seed": seed}
        for attempt in range(self.retries + 1):
            self._wait_for_a_place()
            wait = None
            try:
                answer = self.session.post(self.endpoint, json=body, timeout=self.timeout)
            except (self.requests.ConnectionError, self.requests.Timeout) as error:
                problem = f"gave no answer ({type(error).__name__}: {error})"
            else:
                if answer.status_code == 200:
                    try:
                        choice = answer.json()["choices"][0]
                        return Written(
                            (choice["message"]["content"] or "").strip(), choice.get("finish_reason") or "stop"
                        )
                    except (ValueError, LookupError, TypeError, AttributeError):
                        problem = f"gave an answer that is no chat completion: {excerpt(answer.text)}"
                elif does_not_fit(answer):
                    return Written("", "prompt")
                elif answer.status_code in (408, 409, 429) or answer.status_code >= 500:
                    problem = f"answered {answer.status_code}: {excerpt(answer.text)}"
                    wait = answer.headers.get("Retry-After")
                else:
                    raise ValueError(
                        f"{self.endpoint} refused the request for model {self.body['model']!r} with status "
                        f"{answer.status_code}: {excerpt(answer.text)}. Check url, model and key."
                    )
            if attempt < self.retries:
                time.sleep(self._seconds(attempt, wait))
        raise ConnectionError(
            f"{self.endpoint} {problem}; {self.retries + 1} tries. What is written is kept: run the same command "
            "again when the server is well."
        )

    def _seconds(self, attempt: int, wait: str | None) -> float:
        if wait is not None and wait.isdigit():
            return min(float(wait), 60.0)
        return min(self.backoff * 2**attempt, 60.0) * random.uniform(0.5, 1.0)

    def _wait_for_a_place(self):
        """Spaces the beginnings of requests."""
        if not self.interval:
            return
        with self.lock:
            start = max(time.monotonic(), self.next_start)
            self.next_start = start + self.interval
        time.sleep(max(start - time.monotonic(), 0.0))


def as_text(prompt: Sequence[dict]) -> list[dict]:
    """Messages of `role` and words alone; neighbours of one role become one, since many chat templates refuse two."""
    messages = []
    for message in prompt:
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += "\n" + text_of(message)
        else:
            messages.append({"role": message["role"], "content": text_of(message)})
    return messages


def does_not_fit(answer) -> bool:
    """Whether a server refused a prompt because it is longer than the model's context."""
    said = answer.text.lower()
    return answer.status_code in (400, 413, 422) and "context" in said and ("length" in said or "exceed" in said)


def excerpt(text: str) -> str:
    return " ".join(text.split())[:200] or "nothing"
