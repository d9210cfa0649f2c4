"""Measures of recognised emotions: against their formulas by hand, and their intervals over speakers."""

import numpy as np
import pytest

from transformers_empathav.measures.bootstrap import bootstrap_interval
from transformers_empathav.measures.recognition import (
    calibration_error,
    confusion_matrix,
    emotion_metrics,
    f1_of_counts,
    majority,
    paired_uar_interval,
    per_group,
    recall_of_counts,
    uar_interval,
    unweighted_recall,
    weighted_f1,
    weighted_f1_interval,
)


@pytest.fixture
def judged():
    rng = np.random.default_rng(0)
    targets = rng.choice(7, 300, p=[0.3, 0.1, 0.1, 0.2, 0.05, 0.15, 0.1])
    scores = rng.dirichlet(np.ones(7), 300)
    scores[np.arange(300), targets] += 0.3
    return targets, scores / scores.sum(axis=1, keepdims=True)


def recall_by_hand(targets, predicted):
    return np.mean([np.mean(predicted[targets == label] == label) for label in np.unique(targets)])


def f1_by_hand(targets, predicted):
    total = 0.0
    for label in np.unique(targets):
        hits = np.sum((targets == label) & (predicted == label))
        total += np.mean(targets == label) * 2 * hits / (np.sum(targets == label) + np.sum(predicted == label))
    return total


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(20))
def test_recall_and_f1_are_their_formulas_over_the_labels_that_occur(seed):
    """Some labels are never meant, some never recognised, some neither."""
    rng = np.random.default_rng(seed)
    meant, recognised = (rng.choice(7, rng.integers(1, 8), replace=False) for _ in range(2))
    targets, predicted = rng.choice(meant, 40), rng.choice(recognised, 40)
    confusion = confusion_matrix(targets, predicted, 7)
    assert confusion[targets[0], predicted[0]] == np.sum((targets == targets[0]) & (predicted == predicted[0]))
    assert confusion.shape == (7, 7) and confusion.sum() == 40
    for recall in (unweighted_recall(targets, predicted), recall_of_counts(confusion)):
        assert recall == pytest.approx(recall_by_hand(targets, predicted), abs=1e-12)
    for f1 in (weighted_f1(targets, predicted), f1_of_counts(confusion)):
        assert f1 == pytest.approx(f1_by_hand(targets, predicted), abs=1e-12)


def test_likelihood_and_accuracy_by_hand(judged):
    targets, scores = judged
    found = emotion_metrics(targets, scores)
    assert found["nll"] == pytest.approx(-np.mean([np.log(row[label]) for row, label in zip(scores, targets)]))
    assert found["accuracy"] == np.mean([row.argmax() == label for row, label in zip(scores, targets)])


def test_calibration_by_hand():
    """Four answers at 0.8 of which two are right, and two at 0.6 that both are: |3.2 - 2| + |1.2 - 2| over six."""
    scores = np.array([[0.8, 0.2]] * 4 + [[0.4, 0.6]] * 2)
    assert calibration_error(np.array([0, 0, 1, 1, 1, 1]), scores) == pytest.approx((1.2 + 0.8) / 6)
    assert calibration_error(np.array([0, 0]), np.array([[1.0, 0.0]] * 2)) == 0


def test_an_interval_draws_whole_speakers():
    """One speaker always recognised, one never: clip by clip the interval would be narrow."""
    targets, groups = np.zeros(100, int), ["a"] * 50 + ["b"] * 50
    predicted = np.array([0] * 50 + [1] * 50)
    assert uar_interval(targets, predicted, groups) == (0.0, 1.0)
    low, high = uar_interval(targets, predicted, [str(clip) for clip in range(100)])
    assert 0.35 < low < 0.45 < 0.55 < high < 0.65
    with pytest.raises(ValueError, match="needs two or more"):
        bootstrap_interval(len, ["a"] * 10)


def test_intervals_are_those_of_the_formulas(judged):
    targets, scores = judged
    predicted, groups = scores.argmax(axis=1), [str(index % 10) for index in range(len(targets))]
    for interval, formula in ((uar_interval, recall_by_hand), (weighted_f1_interval, f1_by_hand)):
        wanted = bootstrap_interval(
            lambda index, formula=formula: formula(targets[index], predicted[index]), groups, draws=200
        )
        assert interval(targets, predicted, groups, draws=200) == pytest.approx(wanted, abs=1e-12)


def test_a_paired_interval_is_of_the_difference(judged):
    targets, scores = judged
    groups = [str(index % 10) for index in range(len(targets))]
    predicted = scores.argmax(axis=1)
    assert paired_uar_interval(targets, predicted, predicted, groups) == (0.0, 0.0)
    low, _ = paired_uar_interval(targets, targets, predicted, groups)
    assert low > 0


def test_groups_have_their_own_recall():
    found = per_group([0, 0, 1, 1], [0, 1, 1, 1], ["a", "a", "b", "b"])
    assert found == {"a": 0.5, "b": 1.0}


def test_the_majority_knows_only_the_training_side():
    assert majority(np.array([0, 0, 1]), 2, 3).tolist() == [[2 / 3, 1 / 3, 0]] * 2
