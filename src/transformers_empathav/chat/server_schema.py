"""What OpenAI's chat completions take and give, as far as it is served here."""

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .reply import Reply, held
from .writing import NEW_TOKENS


MAX_MESSAGES = 20_000
COLDEST = 0.01  # below it the likeliest token is taken
Stop = Annotated[str, Field(min_length=1, max_length=200)]


class StreamOptions(BaseModel):
    """Of a stream: whether its last piece but one counts tokens."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request. Fields that are `null` count as absent; what is not served is refused, and not left out."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float = Field(0.0, ge=0, le=2, description="0, the default, takes the likeliest token.")
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1, description=f"{NEW_TOKENS} by default.")
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] = []
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int = Field(1, ge=1, le=8)
    frequency_penalty: Literal[0] = 0
    presence_penalty: Literal[0] = 0
    # Read by nobody here, and harmless:
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    store: bool = False
    metadata: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def without_null(cls, values):
        return (
            {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values
        )

    def generation(self, choice: int) -> dict:
        """Options of one of `n` replies."""
        sampled = self.temperature >= COLDEST
        options = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens or NEW_TOKENS,
            "stop": [self.stop] if isinstance(self.stop, str) else self.stop,
            "do_sample": sampled,
        }
        if sampled:
            seed = None if self.seed is None else (self.seed + choice) % 2**63
            options |= {"temperature": self.temperature, "top_p": self.top_p, "seed": seed}
        return options


class Answer:
    """The pieces and the whole of one answer in OpenAI's form."""

    def __init__(self, model: str):
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def chunk(self, choice: int, delta: dict, ended: str | None = None, **extra) -> dict:
        choices = [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": ended}]
        return {**self.head, "object": "chat.completion.chunk", "choices": choices, **extra}

    def usage_chunk(self, replies: list[Reply]) -> dict:
        return {**self.head, "object": "chat.completion.chunk", "choices": [], "usage": usage(replies)}

    def whole(self, replies: list[Reply]) -> dict:
        choices = [
            {
                "index": choice,
                "message": {"role": "assistant", "content": reply.response, "refusal": None},
                "logprobs": None,
                "finish_reason": reply.ended,
            }
            for choice, reply in enumerate(replies)
        ]
        body = {**self.head, "object": "chat.completion", "choices": choices, "usage": usage(replies)}
        return body | {"empathav": felt(replies[0])}


def usage(replies: list[Reply]) -> dict:
    """Tokens of the prompt, those of it that were not computed again, and of all replies."""
    prompt, cached = replies[0].tokens["prompt"], replies[0].tokens["cached"]
    written = sum(reply.tokens["reply"] for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def felt(reply: Reply) -> dict:
    """What OpenAI has no field for: the emotion, what was heard, and what is remembered."""
    return {
        "emotion": reply.feeling,
        "heard": None if reply.reading is None else reply.transcript,
        "memory": held(reply.memory, reply.verbatim),
    }


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
