"""Replies of a system to contexts: in batches, from the cache where they were written before."""

from dataclasses import asdict, dataclass

import torch
from tqdm import tqdm

from ..content_cache import ContentCache, content_key
from .systems import System


EVERYTHING = 1_000_000  # recent turns, where all of them stay verbatim


@dataclass(frozen=True)
class Writing:
    r"""
    How replies are written.

    Args:
        history (`str`): What is seen of messages older than the newest `recent_turns`: `memory`, their vectors;
            `full`, their words; or `none`.
        recent_turns (`int`, *optional*): Messages verbatim; the processor's own number by default.
        max_new_tokens (`int`): Longest reply, in tokens.
        repetition_penalty (`float`): As `generate` takes it; replies are written greedily.
    """

    history: str = "memory"
    recent_turns: int | None = None
    max_new_tokens: int = 64
    repetition_penalty: float = 1.1

    def __post_init__(self):
        if self.history not in ("memory", "none", "full"):
            raise ValueError(f"history is {self.history!r}: choose memory, none or full.")


def shown(prompt: list[dict], history: str, recent_turns: int) -> tuple[list[dict], int]:
    """The messages that a system is given, and how many of them stay verbatim; a system message always stays."""
    if history == "full":
        return prompt, EVERYTHING
    if history == "none":
        system = prompt[:1] if prompt[0]["role"] == "system" else []
        return [*system, *prompt[len(system) :][-recent_turns:]], recent_turns
    return prompt, recent_turns


def encode_prompts(system: System, prompts: list[list[dict]], writing: Writing):
    """Inputs of the model for a batch of prompts."""
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
    Greedy replies.

    Batches are made of all prompts, by length, whatever the cache holds: in half precision a reply may depend on its
    neighbours, and a run that was interrupted writes what an uninterrupted one writes.

    Args:
        prompts (`list[list[dict]]`): Messages, the last one a user's.
        cache ([`ContentCache`]): By weights, inputs and settings.

    Returns:
        `list[dict]`: `text`, and `cut` where a reply was not at its end after `max_new_tokens`.
    """
    keys, lengths = [], []
    for prompt in prompts:
        inputs = encode_prompts(system, [prompt], writing)
        keys.append(content_key("reply", system.digest, dict(inputs), asdict(writing)))
        lengths.append(inputs["input_ids"].shape[1])
    order = sorted(range(len(prompts)), key=lambda row: (lengths[row], keys[row]))
    with tqdm(total=len(prompts), desc=f"replies of {system.name}", unit="reply", mininterval=1.0) as progress:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            if any(keys[row] not in cache for row in rows):
                written = generate(system, [prompts[row] for row in rows], writing)
                cache.add({keys[row]: reply for row, reply in zip(rows, written)})
            progress.update(len(rows))
    return [cache[key] for key in keys]


@torch.no_grad()
def generate(system: System, prompts: list[list[dict]], writing: Writing) -> list[dict]:
    """Replies to a batch of prompts."""
    inputs = encode_prompts(system, prompts, writing).to(system.model.device)
    ids = system.model.generate(
        **inputs,
        max_new_tokens=writing.max_new_tokens,
        repetition_penalty=writing.repetition_penalty,
        do_sample=False,
    )[:, inputs["input_ids"].shape[1] :]
    ends = system.model.generation_config.eos_token_id
    ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=ids.device)
    ended = torch.isin(ids, ends).any(dim=1).tolist()
    texts = system.processor.batch_decode(ids, skip_special_tokens=True)
    return [{"text": text.strip(), "cut": not whole} for text, whole in zip(texts, ended)]
