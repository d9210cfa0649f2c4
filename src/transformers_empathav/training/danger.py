"""Trains the reading of danger on the states of frozen language models."""

import random
from collections.abc import Iterable, Sequence

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from transformers import DynamicCache

from ..checkpoint.danger_reading import DangerReading, beginning, newest_message, two_states
from ..data.dialogues.corpus import load_corpus
from ..data.dialogues.danger import as_messages, danger_lines
from ..data.replies import text_of
from ..modeling.generation_empathav import CACHE
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor


BATCH = 32
SYSTEMS = (
    None,
    "You are a kind listener.",
    "You answer in the chat of a shop. Be brief and polite.",
    "You are a coach. Help people to find their own way.",
)


def labelled(split: str) -> tuple[list[str], list[bool], list[list[dict]]]:
    """The statements of the corpus `danger`, whether each speaks of one, and the messages before it."""
    lines = [line for line in danger_lines() if line["split"] == split]
    earlier = [as_messages(line)[:-1] for line in lines]
    return [line["statement"] for line in lines], [line["kind"] is not None for line in lines], earlier


def everyday(corpora: Iterable[str], split: str, count: int, seed: int) -> list[str]:
    """`count` different messages of users of each corpus: nobody has labelled them, and nearly all are harmless."""
    chosen = random.Random(seed)
    found = []
    for corpus in corpora:
        messages = (message for talk in load_corpus(corpus, split) for message in talk["messages"])
        said = sorted({" ".join(text_of(message).split()) for message in messages if message["role"] == "user"} - {""})
        found += chosen.sample(said, min(count, len(said)))
    return found


def situations(corpora: Iterable[str], split: str, count: int, seed: int) -> list[tuple[list[dict], int]]:
    """
    `count` beginnings of conversations of each corpus after which a user speaks, some behind a system prompt of their
    own, and how many of their newest messages stay word by word.
    """
    chosen, found = random.Random(seed), []
    for corpus in corpora:
        talks = [talk["messages"] for talk in load_corpus(corpus, split)]
        for messages in chosen.sample(talks, min(count, len(talks))):
            ends = [end for end, message in enumerate(messages[:16], 1) if message["role"] == "assistant"]
            system, recent = chosen.choice(SYSTEMS), chosen.choice((2, 4, 6, 8))
            before = messages[: chosen.choice(ends)] if ends else []
            said = [{"role": message["role"], "content": text_of(message)} for message in before]
            head = [] if system is None else [{"role": "system", "content": system}]
            found.append((head + said, recent))
    return found


@torch.no_grad()
def states_of(
    reading: DangerReading,
    model: EmpathAVForCausalLM,
    processor: EmpathAVProcessor,
    texts: Sequence[str],
    before: Sequence[dict] = (),
    recent_turns: int | None = None,
) -> torch.Tensor:
    r"""
    States of messages, each of which follows the same beginning, which is read once.

    Args:
        reading ([`DangerReading`]): After which layer.
        model ([`EmpathAVForCausalLM`]), processor ([`EmpathAVProcessor`]): Of one checkpoint.
        texts (`Sequence[str]`): The messages; of a long one its first part counts.
        before (`Sequence[dict]`): Messages before them.
        recent_turns (`int`, *optional*): How many of these stay word by word; the others are compressed.

    Returns:
        `torch.Tensor` of shape `(texts, 2 width)`.
    """
    rows = []
    for text in texts:
        inputs = processor.apply_chat_template(
            [*before, {"role": "user", "content": text}],
            recent_turns=recent_turns,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
        rows.append(inputs.pop("input_ids")[0])
    shared = len(rows[0]) - newest_message(model.config, rows[0].tolist())
    history = {name: inputs[name] for name in ("history_input_ids", "history_attention_mask") if name in inputs}
    read = DynamicCache()
    model(input_ids=rows[0][None, :shared], use_cache=True, logits_to_keep=1, **history, **{CACHE: read})
    part, layers = beginning(model.model.language_model, reading.settings["layer"]), read.layers
    new = [row[shared:] for row in rows]
    order, states = sorted(range(len(new)), key=lambda index: len(new[index])), [None] * len(new)
    for start in range(0, len(order), BATCH):
        some, cache = order[start : start + BATCH], DynamicCache()
        for index in range(reading.settings["layer"]):
            kept = (each.expand(len(some), -1, -1, -1) for each in (layers[index].keys, layers[index].values))
            cache.update(*kept, index)
        padded = pad_sequence([new[index] for index in some], batch_first=True)  # on the right: nothing looks there
        seen = part(input_ids=padded, use_cache=True, **{CACHE: cache}).last_hidden_state
        for index, row in zip(some, seen):
            states[index] = two_states(row[: len(new[index])])[0]
    return torch.stack(states)


def fit(
    reading: DangerReading,
    states: torch.Tensor,
    danger: torch.Tensor,
    weights: torch.Tensor,
    epochs: int = 20,
    seed: int = 0,
):
    r"""
    Trains the network, in place.

    Args:
        states (`torch.Tensor` of shape `(texts, 2 width)`): Of all language models that it shall read.
        danger (`torch.Tensor` of shape `(texts,)`): Whether a text speaks of danger.
        weights (`torch.Tensor` of shape `(texts,)`): How much each counts.
        epochs (`int`, *optional*, defaults to 20): Passes over all.
        seed (`int`, *optional*, defaults to 0): Of the network's beginning and of the order.
    """
    torch.manual_seed(seed)
    reading.mean.copy_(states.mean(0))
    reading.scale.copy_(states.std(0) + 1e-6)
    for layer in reading.network:
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    labels = danger.float()
    optimizer = AdamW(reading.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = CosineAnnealingLR(optimizer, epochs)
    reading.train()
    for _ in range(epochs):
        for some in torch.randperm(len(states)).split(128):
            loss = binary_cross_entropy_with_logits(reading(states[some]), labels[some], weights[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    reading.eval()
