"""Perplexity of the reply that a person gave, by what the model is shown of the conversation before."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ...data.replies import text_of
from ...measures.bootstrap import Scores, perplexity
from ...modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..content_cache import ContentCache, content_key
from .systems import System
from .writing import shown


# What a model is shown besides the newest `recent_turns` messages; see `gold_perplexity`.
VARIANTS = ("none", "last_k", "mean_pooled", "other", "own", "full")
WITH_VECTORS = ("mean_pooled", "other", "own")


@dataclass
class EncodedRow:
    """
    One row as tokens.

    Args:
        prompt, reply (`list[int]`): What the language model reads, and what it is scored on.
        history (`list[int]`): The older messages with their read-out tokens; empty where there are none.
        other (`list[int]`): The same of another conversation, for the variant `other`.
        media (`dict[str, torch.Tensor]`): The clips of the prompt.
    """

    prompt: list[int]
    reply: list[int]
    history: list[int]
    other: list[int]
    media: dict[str, torch.Tensor]


def gold_perplexity(
    system: System,
    rows: list[dict],
    cache: ContentCache,
    variant: str = "own",
    recent_turns: int | None = None,
    batch_size: int = 8,
) -> Scores:
    r"""
    Teacher-forced perplexity of the replies' words, without their end token.

    Args:
        system ([`System`]): Whose perplexity is measured.
        rows (`list[dict]`): Of [`reply_rows`]. A row may have a `conversation`, by which another one is told apart.
        cache ([`ContentCache`]): Where losses are kept, by weights, tokens and variant.
        variant (`str`, *optional*, defaults to `"own"`): What is shown before the reply:

            - `none`: the newest message alone.
            - `last_k`: the newest `recent_turns` messages. All variants below add something to these.
            - `mean_pooled`: averaged embeddings of each older utterance, as many vectors as its memory would have.
            - `other`: memory vectors of another conversation, as many as its own memory would have.
            - `own`: the memory of the older messages.
            - `full`: the older messages verbatim.
        recent_turns (`int`, *optional*): Messages verbatim; the processor's own number by default.
        batch_size (`int`, *optional*, defaults to 8): Rows at once.

    Returns:
        [`Scores`]: Nats and tokens of each reply, which combine to perplexity.

    Raises:
        `ValueError`: a row does not fit into the model's positions with what `variant` shows of it, or the variant
            `other` finds no other conversation with a history.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}: choose one of {', '.join(VARIANTS)}.")
    recent = recent_turns or system.processor.recent_turns
    encoded = [encode_row(system, row, variant, recent) for row in rows]
    if variant == "other":
        give_others(encoded, [str(row.get("conversation", row["id"])) for row in rows])
    keys = [content_key("gold", variant, system.digest, vars(row)) for row in encoded]
    losses = cache.values_of(
        keys,
        [len(row.prompt) for row in encoded],
        lambda some: batch_losses(system, [encoded[row] for row in some], variant),
        batch_size,
        f"gold replies, {system.name}, {variant}",
    )
    statistics = [[loss, len(row.reply)] for loss, row in zip(losses, encoded)]
    return Scores(np.array(statistics, dtype=float).reshape(-1, 2), perplexity)


def encode_row(system: System, row: dict, variant: str, recent_turns: int) -> EncodedRow:
    """Encodes a row as `variant` shows it; `other` histories are added by [`give_others`]."""
    processor, name = system.processor, row["id"]
    reply = processor.tokenizer(processor.escape(text_of(row["completion"][0])), add_special_tokens=False)["input_ids"]
    history = {"none": "none", "last_k": "none", "full": "full"}.get(variant, "memory")
    messages, verbatim = shown(row["prompt"], history, 1 if variant == "none" else recent_turns)
    positions = processor.tokenizer.model_max_length - len(reply)
    inputs = processor.apply_chat_template(
        messages,
        recent_turns=verbatim,
        max_length=max(positions, 1),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )
    older = inputs["history_input_ids"][0].tolist() if "history_input_ids" in inputs else []
    if variant not in WITH_VECTORS and older:
        raise ValueError(f"Row {name} does not fit into {positions} positions as {variant}: leave it out.")
    media = given_inputs(dict(inputs), MEDIA_INPUTS)
    return EncodedRow(inputs["input_ids"][0].tolist(), reply, older, [], media)


def give_others(encoded: list[EncodedRow], conversations: list[str]):
    """
    Gives each row with a history the history of the next row, cyclically, that is of another conversation.

    Raises:
        `ValueError`: no other conversation has a history.
    """
    for index, row in enumerate(encoded):
        if not row.history:
            continue
        following = [(index + step) % len(encoded) for step in range(1, len(encoded))]
        others = (at for at in following if encoded[at].history and conversations[at] != conversations[index])
        if (other := next(others, None)) is None:
            raise ValueError("There is no other conversation with a history: evaluate rows of two or more.")
        row.other = encoded[other].history


@torch.no_grad()
def batch_losses(system: System, rows: list[EncodedRow], variant: str) -> list[float]:
    """Summed cross-entropy of each reply, in nats."""
    model, device = system.model, system.model.device
    ids = padded([row.prompt + row.reply for row in rows], device)
    mask = padded([[1] * (len(row.prompt) + len(row.reply)) for row in rows], device)
    inputs = {}
    if clips := [row.media for row in rows if row.media]:
        given = [{name: value.to(device) for name, value in media.items()} for media in clips]
        inputs["av_embeds"] = torch.cat([model.get_av_features(**media) for media in given])
    if any(row.history for row in rows):
        inputs["memory_embeds"] = memory_vectors(system, rows, variant)
    hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False, **inputs).last_hidden_state
    losses = []
    for row, states in zip(rows, hidden):
        before = len(row.prompt) - 1
        logits = model.lm_head(states[before : before + len(row.reply)]).float()
        targets = torch.tensor(row.reply, dtype=torch.long, device=device)
        losses.append(float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum")))
    return losses


def memory_vectors(system: System, rows: list[EncodedRow], variant: str) -> torch.Tensor:
    """The vectors that take the memory's places, of all rows in order, `(vectors, hidden)`."""
    k = system.processor.memory_tokens_per_utterance
    if variant == "mean_pooled":
        return torch.cat([mean_pooled(system, row.history, k) for row in rows if row.history])
    histories = [row.other if variant == "other" else row.history for row in rows]
    ids = padded(histories, system.model.device)
    memory = system.model.compress(ids, padded([[1] * len(history) for history in histories], system.model.device))
    if variant == "own":
        return memory.flat()
    found = []
    for row, vectors, length in zip(rows, memory.vectors, memory.lengths.tolist()):
        places = row.prompt.count(system.processor.memory_token_id)
        if places:
            found.append(vectors[torch.arange(places, device=vectors.device) % length])
    return torch.cat(found)


def mean_pooled(system: System, history: list[int], k: int) -> torch.Tensor:
    """
    Averaged embeddings in place of a memory, `(k * utterances, hidden)`. Each utterance is cut into `k` parts; each
    part is averaged and scaled to the mean norm of the embedding table.
    """
    table = system.model.get_input_embeddings().weight.float()
    norm, pooled, words = table.norm(dim=-1).mean(), [], []
    readout, read = system.processor.memory_token_id, 0
    for token in history:
        if token != readout:
            words.append(token)
            continue
        stretch = torch.tensor_split(torch.tensor(words if len(words) >= k else words * k), k)[read]
        mean_ = table[stretch.to(table.device)].mean(dim=0)
        pooled.append(mean_ / mean_.norm().clamp(min=1e-6) * norm)
        read += 1
        if read == k:
            words, read = [], 0
    return torch.stack(pooled)


def padded(rows: list[list[int]], device: torch.device) -> torch.Tensor:
    """Rows as one tensor `(rows, longest)`, with zeros at their ends."""
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True).to(device)
