"""Runs an encoder over texts in batches of about equal length."""

from collections.abc import Sequence

import numpy as np
import torch


def read(tokenizer, texts: list[str], device) -> dict[str, torch.Tensor]:
    """Tokens of texts, right-padded. Texts longer than the encoder's positions are truncated."""
    return tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)


@torch.no_grad()
def in_batches(function, texts: Sequence[str], batch_size: int, width: int) -> np.ndarray:
    """
    Runs `function` on batches of texts, sorted by length to save padding. It takes a list of texts and returns a
    tensor `(batch, width)`. The result `(texts, width)` has the order of `texts`.
    """
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found = np.zeros((len(texts), width))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found[chosen] = function([texts[index] for index in chosen]).numpy()
    return found
