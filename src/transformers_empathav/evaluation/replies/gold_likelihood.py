"""How likely a model finds the reply that a person gave, with what it is shown of the conversation before."""

from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from ...data.replies import text_of
from ...measures.bootstrap import Scores, mean
from ...modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..content_cache import ContentCache, content_key
from .systems import System
from .writing import shown


# What is shown of the messages older than the newest k, which all but `none` and `full` see verbatim.
VARIANTS = ("none", "last_k", "mean_pooled", "other", "own", "full")
WITH_VECTORS = ("mean_pooled", "other", "own")


@dataclass
class EncodedRow:
    """One row as tokens: the prompt, the reply, the older messages, and those of another conversation; and clips."""

    prompt: list[int]
    reply: list[int]
    history: list[int]
    other: list[int]
    media: dict[str, torch.Tensor]


def perplexity(sums: np.ndarray) -> np.ndarray:
    """Summed nats and tokens `(..., 2)` to perplexity."""
    return np.exp(mean(sums))


def gold_perplexity(
    system: System,
    rows: list[dict],
    cache: ContentCache,
    variant: str = "own",
    recent_turns: int | None = None,
    batch_size: int = 8,
) -> Scores:
    r"""
    Perplexity of the words of the replies (their end token is not counted), teacher-forced.

    Args:
        rows (`list[dict]`): Of [`reply_rows`], each of which may have a `conversation`, by which another one is known.
        variant (`str`): One of `VARIANTS`. `none`: the newest message alone. `last_k`: the newest `recent_turns`
            messages. `own`: these, and the memory of the older ones. `mean_pooled`: in place of that memory the
            embeddings of each older utterance, averaged over as many stretches as it has vectors. `other`: in its
            place as many vectors of the memory of the next row's conversation that is another one and has a history.
            `full`: all messages verbatim.
        recent_turns (`int`, *optional*): Messages verbatim; the processor's own number by default.

    Returns:
        [`Scores`]: Nats and tokens of each reply, which combine to perplexity.

    Raises:
        `ValueError`: a row does not fit into the model's positions with what `variant` shows of it.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}: choose one of {', '.join(VARIANTS)}.")
    recent = recent_turns or system.processor.recent_turns
    encoded = [encode_row(system, row, variant, recent) for row in rows]
    if variant == "other":
        give_others(encoded, [str(row.get("conversation", row["id"])) for row in rows])
    keys = [content_key("gold", variant, system.digest, vars(row)) for row in encoded]
    order = sorted(range(len(rows)), key=lambda row: (len(encoded[row].prompt), keys[row]))
    with tqdm(total=len(rows), desc=f"gold replies, {system.name}, {variant}", mininterval=1.0) as progress:
        for start in range(0, len(order), batch_size):
            some = order[start : start + batch_size]
            if any(keys[row] not in cache for row in some):
                losses = batch_losses(system, [encoded[row] for row in some], variant)
                cache.add({keys[row]: loss for row, loss in zip(some, losses)})
            progress.update(len(some))
    statistics = [[cache[key], len(row.reply)] for key, row in zip(keys, encoded)]
    return Scores(np.array(statistics, dtype=float).reshape(-1, 2), perplexity)


def encode_row(system: System, row: dict, variant: str, recent_turns: int) -> EncodedRow:
    """Tokens of a row for a variant."""
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
    To each row with a history that of the next row, cyclically, of another conversation.

    Raises:
        `ValueError`: there is none.
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
    """Vectors in the places of the memory, all rows one after the other `(vectors, hidden)`."""
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
    """Embeddings of each utterance averaged over `k` stretches and brought to the length of embeddings."""
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


def padded(rows: list[list[int]], device) -> torch.Tensor:
    """Rows of different lengths, zeros at their ends."""
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
