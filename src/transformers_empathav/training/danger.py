"""Trains the reading of danger on the states of frozen language models."""

import random
from collections.abc import Iterable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..checkpoint.danger_reading import DangerReading
from ..data.dialogues.corpus import load_corpus
from ..data.dialogues.danger import danger_lines
from ..data.replies import text_of


BATCH = 32


def labelled(split: str) -> tuple[list[str], list[bool]]:
    """The statements of the corpus `danger`, and whether each speaks of one."""
    lines = [line for line in danger_lines() if line["split"] == split]
    return [line["statement"] for line in lines], [line["kind"] is not None for line in lines]


def everyday(corpora: Iterable[str], split: str, count: int, seed: int) -> list[str]:
    """`count` different messages of users of each corpus: nobody has labelled them, and nearly all are harmless."""
    chosen = random.Random(seed)
    found = []
    for corpus in corpora:
        messages = (message for talk in load_corpus(corpus, split) for message in talk["messages"])
        said = sorted({" ".join(text_of(message).split()) for message in messages if message["role"] == "user"} - {""})
        found += chosen.sample(said, min(count, len(said)))
    return found


def states_of(
    reading: DangerReading, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], name: str
) -> torch.Tensor:
    """States of the first part of each text, `(texts, 2 width)`."""
    rows = [reading.rows(tokenizer, text)[0] for text in texts]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    states = torch.empty(len(rows), reading.mean.numel())
    for start in tqdm(range(0, len(order), BATCH), desc=f"states of {name}"):
        some = order[start : start + BATCH]
        states[some] = reading.states(model, [rows[index] for index in some])
    return states


def fit(reading: DangerReading, states: torch.Tensor, danger: torch.Tensor, epochs: int = 20, seed: int = 0):
    r"""
    Trains the network, in place.

    Args:
        states (`torch.Tensor` of shape `(texts, 2 width)`): Of all language models that it shall read.
        danger (`torch.Tensor` of shape `(texts,)`): Whether a text speaks of danger; these count twice.
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
            loss = binary_cross_entropy_with_logits(reading(states[some]), labels[some], 1 + labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    reading.eval()
