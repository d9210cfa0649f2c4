"""Replies written by a model behind a server that speaks OpenAI's chat completions."""

import threading
import time
from collections.abc import Sequence

from .sampling import Sampling, Written, as_text


TRY_AGAIN = "What is written is kept: run the same command again when the server is well."


class RemoteWriter:
    r"""
    Asks a server for replies through OpenAI's client: vLLM, TGI, llama.cpp, `transformers serve`, or a hosted model.

    The client repeats a request after a lost connection, a timeout, and status 408, 409, 429 or 5xx. Any other refusal
    ends the run at once.

    Args:
        base_url (`str`): Address of the server, with `/v1`: `http://127.0.0.1:8000/v1`.
        model (`str`): Name of the model on that server.
        sampling ([`Sampling`], *optional*): How replies are drawn. A repetition penalty other than 1 is sent as
            `repetition_penalty`, a field that vLLM and TGI know and OpenAI does not.
        api_key (`str`, *optional*): Sent as bearer token. No key is read from the environment or a `.netrc` file.
        concurrency (`int`, *optional*, defaults to 8): Batches that [`write_replies`] asks for at the same time.
        requests_per_second (`float`, *optional*): Upper bound on the rate at which requests begin, repeated ones too.
        timeout (`float`, *optional*, defaults to 120.0): Seconds to wait for an answer.
        max_retries (`int`, *optional*, defaults to 6): How often a failed request is repeated.
        extra_body (`dict`, *optional*): Further fields of each request.

    Raises:
        `ImportError`: openai is not installed.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
        api_key: str | None = None,
        concurrency: int = 8,
        requests_per_second: float | None = None,
        timeout: float = 120.0,
        max_retries: int = 6,
        extra_body: dict | None = None,
    ):
        try:
            import openai
        except ImportError:
            raise ImportError("A model behind a server is asked by OpenAI's client: pip install openai") from None
        self.openai, self.base_url, self.concurrency = openai, base_url, concurrency
        api_key = api_key or "none"  # the client wants one, and would take it from the environment
        self.client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key,
            default_headers={"Authorization": f"Bearer {api_key}"},  # or OPENAI_CUSTOM_HEADERS could bring another
            timeout=timeout,
            max_retries=max_retries,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._wait_for_turn]}),
        )
        penalty = {} if sampling.repetition_penalty == 1 else {"repetition_penalty": sampling.repetition_penalty}
        self.request = {
            "model": model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "extra_body": {**penalty, **(extra_body or {})},
        }
        self.interval = 1 / requests_per_second if requests_per_second else 0.0
        self.lock, self.next_start = threading.Lock(), 0.0

    def write(self, prompts: Sequence[list[dict]], seeds: Sequence[int]) -> list[Written]:
        r"""
        Writes one reply to each prompt, one request after the other. Call it from several threads to ask at once.

        Args:
            prompts (`Sequence[list[dict]]`): Messages, the last one a user's.
            seeds (`Sequence[int]`): One for each prompt. Whether it is used is up to the server.

        Raises:
            `ConnectionError`: the server gave no answer, and neither when asked again.
            `ValueError`: the server refused the request, or its answer is no chat completion.
        """
        return [self._ask(as_text(prompt), seed) for prompt, seed in zip(prompts, seeds)]

    def _ask(self, messages: list[dict], seed: int) -> Written:
        where = f"{self.base_url}, model {self.request['model']!r},"
        try:
            answer = self.client.chat.completions.with_raw_response.create(
                **self.request, messages=messages, seed=seed
            )
        except self.openai.APIStatusError as error:
            if does_not_fit(error):
                return Written("", "prompt")
            said = f"{where} answered with status {error.status_code}: {excerpt(error.response.text)}."
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise ConnectionError(f"{said} {TRY_AGAIN}") from None
            raise ValueError(f"{said} Check url, model and key.") from None
        except self.openai.APIConnectionError as error:
            raise ConnectionError(f"{where} gave no answer ({error} {error.__cause__}). {TRY_AGAIN}") from None
        try:
            choice = answer.parse().choices[0]
            return Written((choice.message.content or "").strip(), choice.finish_reason or "stop")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(
                f"{where} gave an answer that is no chat completion: {excerpt(answer.text)}. Check that the url is "
                f"that of OpenAI's API, up to and with /v1. {TRY_AGAIN}"
            ) from None

    def _wait_for_turn(self, request):
        """Delays a request until `interval` seconds after the one before began."""
        if self.interval:
            with self.lock:
                start = max(time.monotonic(), self.next_start)
                self.next_start = start + self.interval
            time.sleep(max(start - time.monotonic(), 0.0))


def does_not_fit(error) -> bool:
    """Whether a server refused a prompt because it is longer than the model's context."""
    said = error.response.text.lower()
    return error.status_code in (400, 413, 422) and "context" in said and ("length" in said or "exceed" in said)


def excerpt(text: str) -> str:
    return " ".join(text.split())[:200] or "nothing"
