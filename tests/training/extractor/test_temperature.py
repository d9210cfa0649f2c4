"""The temperature of probabilities: found again where it is known, and not moved by clips that weigh nothing."""

import numpy as np
import pytest

from transformers_empathav.training.extractor.temperature import best_temperature


def drawn(temperature, rows=4000):
    """Labels drawn from probabilities, and what somebody says who is too sure by that temperature."""
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(rows, 4)) * 2
    true, said = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) for scores in (odds, odds * temperature))
    return np.array([rng.choice(4, p=row) for row in true]), said


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_undoes_what_made_probabilities_too_sure(temperature):
    assert best_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.1)


def test_clips_count_by_their_weight():
    (one, said_one), (other, said_other) = drawn(1.0, 500), drawn(3.0, 500)
    targets, scores = np.concatenate([one, other]), np.concatenate([said_one, said_other])
    alone = best_temperature(other, said_other)
    assert best_temperature(targets, scores, np.repeat([0.0, 1.0], 500)) == pytest.approx(alone, rel=1e-3)
    assert best_temperature(targets, scores) < 0.8 * alone


def test_what_was_impossible_and_right_does_not_break_it():
    assert 0.1 <= best_temperature(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])) <= 10
