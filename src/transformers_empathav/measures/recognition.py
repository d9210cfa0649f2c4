"""Measures of recognised emotions: recall averaged over emotions, F1, calibration, intervals over speakers."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import bootstrap_interval


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Counts `(labels, labels)`: the row is what was meant, the column what was recognised."""
    return np.bincount(np.asarray(targets) * labels + np.asarray(predicted), minlength=labels**2).reshape(
        labels, labels
    )


def unweighted_recall(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Recall of each emotion that occurs, averaged without regard to how often it does (UAR)."""
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    return float(np.mean([np.mean(predicted[targets == label] == label) for label in np.unique(targets)]))


def weighted_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of each emotion that occurs, weighted by how often it does."""
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    total = 0.0
    for label in np.unique(targets):
        hits = np.sum((targets == label) & (predicted == label))
        total += np.mean(targets == label) * 2 * hits / (np.sum(targets == label) + np.sum(predicted == label))
    return float(total)


def calibration_error(targets: np.ndarray, scores: np.ndarray, bins: int = 10) -> float:
    """
    Expected calibration error: how far the probability of the likeliest emotion is from the share that is right, over
    `bins` equal intervals of that probability, weighted by how many fall into each.
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
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    return bootstrap_interval(lambda index: unweighted_recall(targets[index], predicted[index]), groups, **kwargs)


def paired_uar_interval(
    targets: np.ndarray, predicted: np.ndarray, other: np.ndarray, groups: Sequence[str], **kwargs
) -> tuple[float, float]:
    """Interval of the UAR of `predicted` minus that of `other`, over the same draws."""
    targets, predicted, other = np.asarray(targets), np.asarray(predicted), np.asarray(other)

    def difference(index):
        first, second = (unweighted_recall(targets[index], values[index]) for values in (predicted, other))
        return first - second

    return bootstrap_interval(difference, groups, **kwargs)


def majority(targets: np.ndarray, rows: int, labels: int) -> np.ndarray:
    """How often each emotion occurs in training, as probabilities of every row, `(rows, labels)`."""
    return np.tile(np.bincount(targets, minlength=labels) / len(targets), (rows, 1))
