"""Measures of recognised emotions: recall averaged over emotions, F1, calibration, intervals over speakers."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn import metrics

from .bootstrap import bootstrap_interval


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Counts `(labels, labels)`: the row is what was meant, the column what was recognised."""
    return metrics.confusion_matrix(targets, predicted, labels=range(labels))


def unweighted_recall(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Recall of each emotion that occurs, averaged without regard to how often it does (UAR)."""
    return float(metrics.recall_score(targets, predicted, labels=np.unique(targets), average="macro"))


def weighted_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of each emotion that occurs, weighted by how often it does."""
    return float(metrics.f1_score(targets, predicted, labels=np.unique(targets), average="weighted"))


def recall_of_counts(confusion: np.ndarray) -> float:
    """[`unweighted_recall`] out of a confusion matrix, quick enough for the thousands of draws of an interval."""
    meant = confusion.sum(axis=1)
    return float(np.mean(confusion.diagonal()[meant > 0] / meant[meant > 0]))


def f1_of_counts(confusion: np.ndarray) -> float:
    """[`weighted_f1`] out of a confusion matrix, likewise."""
    meant, recognised = confusion.sum(axis=1), confusion.sum(axis=0)
    return float(np.sum(2 * meant * confusion.diagonal() / np.maximum(meant + recognised, 1)) / meant.sum())


def calibration_error(targets: np.ndarray, scores: np.ndarray, bins: int = 10) -> float:
    """
    Expected calibration error: how far the probability of the likeliest emotion is from the share that is right, over
    `bins` equal intervals of that probability, weighted by how many rows fall into each.
    """
    sure, right = np.max(scores, axis=1), np.argmax(scores, axis=1) == np.asarray(targets)
    which = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(np.sum(sure[which == bin]) - np.sum(right[which == bin])) for bin in range(bins)]
    return float(np.sum(gaps) / len(right))


def emotion_metrics(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    r"""
    All measures of probabilities.

    Args:
        targets (`np.ndarray` of shape `(clips,)`): Index of the emotion meant.
        scores (`np.ndarray` of shape `(clips, labels)`): Probabilities.

    Returns:
        `dict`: `uar`, `accuracy`, `weighted_f1`, `ece` and `nll`, the mean negative log-probability in nats.
    """
    targets, predicted = np.asarray(targets), np.argmax(scores, axis=1)
    likelihood = np.maximum(scores[np.arange(len(targets)), targets], 1e-12)
    return {
        "uar": unweighted_recall(targets, predicted),
        "accuracy": float(np.mean(predicted == targets)),
        "weighted_f1": weighted_f1(targets, predicted),
        "ece": calibration_error(targets, scores),
        "nll": float(-np.mean(np.log(likelihood))),
    }


def per_group(targets: np.ndarray, predicted: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """UAR of each group, such as a speaker or a fold."""
    targets, predicted, groups = np.asarray(targets), np.asarray(predicted), np.asarray(groups)
    return {
        str(name): unweighted_recall(targets[groups == name], predicted[groups == name]) for name in np.unique(groups)
    }


def uar_interval(targets: np.ndarray, predicted: np.ndarray, groups: Sequence[str], **kwargs) -> tuple[float, float]:
    """[`bootstrap_interval`] of the UAR."""
    drawn = drawn_counts(targets, predicted)
    return bootstrap_interval(lambda index: recall_of_counts(drawn(index)), groups, **kwargs)


def weighted_f1_interval(
    targets: np.ndarray, predicted: np.ndarray, groups: Sequence[str], **kwargs
) -> tuple[float, float]:
    """[`bootstrap_interval`] of the weighted F1."""
    drawn = drawn_counts(targets, predicted)
    return bootstrap_interval(lambda index: f1_of_counts(drawn(index)), groups, **kwargs)


def paired_uar_interval(
    targets: np.ndarray, predicted: np.ndarray, other: np.ndarray, groups: Sequence[str], **kwargs
) -> tuple[float, float]:
    """[`bootstrap_interval`] of the UAR of `predicted` minus that of `other`, over the same draws."""
    first, second = drawn_counts(targets, predicted), drawn_counts(targets, other)
    return bootstrap_interval(
        lambda index: recall_of_counts(first(index)) - recall_of_counts(second(index)), groups, **kwargs
    )


def drawn_counts(targets: np.ndarray, predicted: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function of drawn indices of clips, repeated as they were drawn, to their confusion matrix."""
    labels = int(max(np.max(targets), np.max(predicted))) + 1
    cells = np.asarray(targets) * labels + np.asarray(predicted)
    return lambda index: np.bincount(cells[index], minlength=labels**2).reshape(labels, labels)


def majority(targets: np.ndarray, rows: int, labels: int) -> np.ndarray:
    """
    The baseline that knows no clip: how often each emotion occurs among the `targets` of the training side, as the
    probabilities of every row, `(rows, labels)`.
    """
    return np.tile(np.bincount(targets, minlength=labels) / len(targets), (rows, 1))
