"""How replies are drawn, and what a writer gives back."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.replies import text_of


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


def as_text(prompt: Sequence[dict]) -> list[dict]:
    """Messages of `role` and words alone; neighbours of one role become one, since many chat templates refuse two."""
    messages = []
    for message in prompt:
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += "\n" + text_of(message)
        else:
            messages.append({"role": message["role"], "content": text_of(message)})
    return messages
