"""Weights by which rare emotions count as much as frequent ones."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight


def balanced_weights(targets: Sequence[int], labels: Sequence[str]) -> torch.Tensor:
    r"""
    One weight a label, in inverse proportion to how often it occurs. Their mean over the rows is 1.

    Args:
        targets (`Sequence[int]`): The label of each row of the training side, as an index into `labels`.
        labels (`Sequence[str]`): All labels.

    Returns:
        `torch.Tensor` of shape `(labels,)`: 0 for a label that never occurs.
    """
    present = np.unique(targets)
    weights = torch.zeros(len(labels))
    weights[present] = torch.tensor(compute_class_weight("balanced", classes=present, y=targets)).float()
    return weights
