"""Temperature and threshold of probabilities: found where they are known, not moved by clips that weigh nothing."""

import numpy as np
import pytest

from transformers_empathav.training.temperature import best_temperature, best_threshold, tempered


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


def test_probabilities_may_be_meant_as_well_as_labels():
    _, meant = drawn(1.0, 300)
    assert best_temperature(meant, tempered(meant, 0.4)) == pytest.approx(2.5, rel=1e-3)
    targets, scores = drawn(2.0, 300)
    assert best_temperature(np.eye(4)[targets], scores) == best_temperature(targets, scores)


def test_what_was_impossible_and_right_does_not_break_it():
    assert 0.1 <= best_temperature(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])) <= 10


def test_from_the_threshold_on_few_are_wrong_and_no_lower_one_will_do():
    targets, scores = drawn(1.0)
    found = best_threshold(targets, scores)
    wrong = [
        np.mean(scores.argmax(axis=1)[at] != targets[at])
        for at in (scores.max(1) >= found - 0.01 * np.arange(2)[:, None])
    ]
    assert 0.5 < found < 0.95 and wrong[0] <= 0.1 < wrong[1]
    assert best_threshold(targets, scores, wrong=1.0) == 0.5 and best_threshold(targets, scores, wrong=-1.0) == 0.95
    assert best_threshold(targets, scores, wrong=0.05) > found


def test_what_weighs_nothing_does_not_raise_the_threshold():
    targets, scores = drawn(1.0)
    right = scores.argmax(axis=1) == targets
    assert best_threshold(targets, scores, right.astype(float)) == 0.5


def test_a_temperature_of_one_changes_nothing_and_a_high_one_levels():
    _, scores = drawn(1.0, 50)
    assert np.allclose(tempered(scores, 1.0), scores) and np.allclose(tempered(scores, 1e6), 0.25, atol=1e-4)
