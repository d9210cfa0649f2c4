"""Weights of rare emotions: against the formula by hand, and labels that never occur."""

import numpy as np
import pytest
import torch

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.training.class_weights import balanced_weights


def test_weights_by_hand():
    assert balanced_weights([0, 0, 0, 5], EMOTION_LABELS).tolist() == pytest.approx([4 / 6, 0, 0, 0, 0, 2, 0])


def test_each_emotion_counts_the_same_and_the_mean_over_rows_is_1():
    targets = np.random.default_rng(0).choice(7, 500, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    weights = balanced_weights(targets, EMOTION_LABELS)
    counts = torch.tensor(np.bincount(targets))
    assert torch.equal(weights, 500 / (7 * counts.float()))
    assert float(weights[torch.tensor(targets)].mean()) == pytest.approx(1)
