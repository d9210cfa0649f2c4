"""Measures of recognised emotions: against scikit-learn, by hand, and their intervals over speakers."""

import numpy as np
import pytest

from transformers_empathav.evaluation.clips.baselines import logistic_regression
from transformers_empathav.evaluation.clips.plots import plot_confusion, plot_robustness
from transformers_empathav.measures.bootstrap import bootstrap_interval
from transformers_empathav.measures.recognition import (
    calibration_error,
    confusion_matrix,
    emotion_metrics,
    majority,
    paired_uar_interval,
    per_group,
    uar_interval,
    unweighted_recall,
    weighted_f1,
)


@pytest.fixture
def judged():
    rng = np.random.default_rng(0)
    targets = rng.choice(7, 300, p=[0.3, 0.1, 0.1, 0.2, 0.05, 0.15, 0.1])
    scores = rng.dirichlet(np.ones(7), 300)
    scores[np.arange(300), targets] += 0.3
    return targets, scores / scores.sum(axis=1, keepdims=True)


def test_recall_and_f1_are_those_of_scikit_learn(judged):
    metrics = pytest.importorskip("sklearn.metrics")
    targets, scores = judged
    predicted = scores.argmax(axis=1)
    assert unweighted_recall(targets, predicted) == pytest.approx(metrics.balanced_accuracy_score(targets, predicted))
    assert weighted_f1(targets, predicted) == pytest.approx(metrics.f1_score(targets, predicted, average="weighted"))
    assert (confusion_matrix(targets, predicted, 7) == metrics.confusion_matrix(targets, predicted)).all()
    found = emotion_metrics(targets, scores)
    assert found["nll"] == pytest.approx(metrics.log_loss(targets, scores, labels=range(7)))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))


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


def test_baselines_know_only_what_they_were_shown():
    assert majority(np.array([0, 0, 1]), 2, 3).tolist() == [[2 / 3, 1 / 3, 0]] * 2
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    targets = np.array([0, 2] * 30)
    sides = [rng.normal(size=(60, 5)) + targets[:, None] * 3 for _ in range(2)]
    scores = logistic_regression(sides[0], targets, sides[1], labels=3, strength=1.0)
    assert (scores.argmax(axis=1) == targets).mean() > 0.9 and not scores[:, 1].any()


def test_plots_are_pictures(tmp_path):
    plot_confusion(np.eye(3, dtype=int), ["a", "b", "c"], tmp_path / "a.png")
    plot_robustness({"noise": {"20 dB": 0.7, "0 dB": 0.4}, "no face": {"all": 0.5}}, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
