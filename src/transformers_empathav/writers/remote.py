"""Replies by a model behind any server that speaks OpenAI's chat completions."""

import random
import threading
import time
from collections.abc import Sequence

from .sampling import Sampling, Written, as_text


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


def does_not_fit(answer) -> bool:
    """Whether a server refused a prompt because it is longer than the model's context."""
    said = answer.text.lower()
    return answer.status_code in (400, 413, 422) and "context" in said and ("length" in said or "exceed" in said)


def excerpt(text: str) -> str:
    return " ".join(text.split())[:200] or "nothing"
