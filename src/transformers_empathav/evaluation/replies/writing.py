"""Replies of a system to contexts. What is in the cache is not written again."""

from dataclasses import asdict, dataclass, field

from transformers import BatchFeature

from ...writers.local import LocalWriter
from ...writers.sampling import Sampling
from ..content_cache import ContentCache, content_key
from .systems import System


EVERYTHING = 1_000_000  # recent turns, where all of them stay verbatim


@dataclass(frozen=True)
class Writing:
    """How systems write: what they see of the history, and greedy decoding. The fields are options of the recipe."""

    history: str = field(default="memory", metadata={"help": "Of older messages: memory, none or full."})
    recent_turns: int | None = field(
        default=None, metadata={"help": "Messages that stay verbatim; the processor's own number by default."}
    )
    max_new_tokens: int = field(default=64, metadata={"help": "Longest reply, in tokens."})
    repetition_penalty: float = field(default=1.1, metadata={"help": "As generate takes it; decoding is greedy."})

    def __post_init__(self):
        if self.history not in ("memory", "none", "full"):
            raise ValueError(f"history is {self.history!r}: choose memory, none or full.")

    @property
    def sampling(self) -> Sampling:
        return Sampling(0.0, 1.0, self.max_new_tokens, self.repetition_penalty)


def shown(prompt: list[dict], history: str, recent_turns: int) -> tuple[list[dict], int]:
    """The messages that a system is given, and how many of them stay verbatim. A system message is always given."""
    if history == "full":
        return prompt, EVERYTHING
    if history == "none":
        system = prompt[:1] if prompt[0]["role"] == "system" else []
        return [*system, *prompt[len(system) :][-recent_turns:]], recent_turns
    return prompt, recent_turns


def encode_prompts(system: System, prompts: list[list[dict]], writing: Writing) -> BatchFeature:
    """The model's inputs for a batch of prompts."""
    recent = writing.recent_turns or system.processor.recent_turns
    given = [shown(prompt, writing.history, recent) for prompt in prompts]
    return system.processor.apply_chat_template(
        [messages for messages, _ in given],
        recent_turns=given[0][1],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )


def write_replies(
    system: System, prompts: list[list[dict]], writing: Writing, cache: ContentCache, batch_size: int = 16
) -> list[dict]:
    r"""
    Writes a greedy reply to each prompt.

    Args:
        system ([`System`]): Who writes.
        prompts (`list[list[dict]]`): Messages, the last one a user's.
        writing ([`Writing`]): What the system sees, and how it decodes.
        cache ([`ContentCache`]): Where replies are kept, by weights, inputs and settings.
        batch_size (`int`, *optional*, defaults to 16): Prompts at once.

    Returns:
        `list[dict]`: `text`, and `cut`: whether the reply reached `max_new_tokens`.
    """
    keys, lengths = [], []
    for prompt in prompts:
        inputs = encode_prompts(system, [prompt], writing)
        keys.append(content_key("reply", system.digest, dict(inputs), asdict(writing)))
        lengths.append(inputs["input_ids"].shape[1])
    writer = LocalWriter(system.model, system.processor, writing.sampling)

    def write(rows: list[int]) -> list[dict]:
        written = writer.generate(encode_prompts(system, [prompts[row] for row in rows], writing))
        return [{"text": reply.text, "cut": reply.finish_reason != "stop"} for reply in written]

    return cache.values_of(keys, lengths, write, batch_size, f"replies of {system.name}")
