"""Texts through an encoder in batches of about equal length."""

from collections.abc import Sequence

import numpy as np
import torch


def read(tokenizer, texts: list[str], device) -> dict[str, torch.Tensor]:
    """Tokens of texts, right-padded; what is beyond an encoder's positions is not read."""
    return tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)


@torch.no_grad()
def in_batches(function, texts: Sequence[str], batch_size: int, width: int) -> np.ndarray:
    """`function` over texts sorted by length, so that little is padded, in the order they were given."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found = np.zeros((len(texts), width))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found[chosen] = function([texts[index] for index in chosen]).numpy()
    return found
