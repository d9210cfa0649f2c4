"""How replies are drawn, and what a writer returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..data.replies import text_of


@dataclass(frozen=True)
class Sampling:
    """How a writer draws replies. The fields are command-line options of recipes too."""

    temperature: float = field(default=0.8, metadata={"help": "0 takes the likeliest token each time."})
    top_p: float = field(default=0.95, metadata={"help": "Tokens are drawn from the likeliest with this total mass."})
    max_new_tokens: int = field(default=64, metadata={"help": "Longest reply; one that reaches it is truncated."})
    repetition_penalty: float = field(
        default=1.0, metadata={"help": "Above 1, tokens that were already said become less likely."}
    )


@dataclass(frozen=True)
class Written:
    """
    One reply.

    Args:
        text (`str`): The reply, without special tokens and outer white space.
        finish_reason (`str`): `"stop"` where it ended by itself, `"length"` where it reached `max_new_tokens`,
            `"prompt"` where the prompt did not fit the model and nothing was written.
    """

    text: str
    finish_reason: str


def as_text(prompt: Sequence[dict]) -> list[dict]:
    """Messages with `role` and words only. Neighbours of one role are joined: many chat templates refuse them."""
    messages = []
    for message in prompt:
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += "\n" + text_of(message)
        else:
            messages.append({"role": message["role"], "content": text_of(message)})
    return messages
