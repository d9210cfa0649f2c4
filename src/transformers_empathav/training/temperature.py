"""The temperature of probabilities and from which one on a reading counts, found on speakers not trained on."""

import numpy as np
from scipy.optimize import minimize_scalar


def best_temperature(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    r"""
    The temperature at which the probabilities of the right labels are highest (Guo et al., arXiv 1706.04599).

    Args:
        targets (`np.ndarray` of shape `(clips,)` or `(clips, labels)`):
            Index of the emotion meant, or the probability of each.
        scores (`np.ndarray` of shape `(clips, labels)`): Probabilities at the temperature 1.
        weights (`np.ndarray` of shape `(clips,)`, *optional*): How much each clip counts; all alike by default.

    Returns:
        `float`: between 0.1 and 10.
    """

    shares = np.eye(scores.shape[1])[targets] if targets.ndim == 1 else targets

    def missed(power: float) -> float:
        log_probs = np.log(tempered(scores, np.exp(power)))
        return -np.average((shares * log_probs).sum(axis=1), weights=weights)

    return float(np.exp(minimize_scalar(missed, bounds=(np.log(0.1), np.log(10)), method="bounded").x))


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities `(clips, labels)` of the temperature 1, brought to another one."""
    cooled = np.log(np.maximum(scores, 1e-12)) / temperature
    return np.exp(cooled - np.logaddexp.reduce(cooled, axis=1, keepdims=True))


def best_threshold(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, wrong: float = 0.1, least: float = 0.5
) -> float:
    r"""
    The lowest probability from which on at most a share of the likeliest emotions is wrong.

    Args:
        targets (`np.ndarray` of shape `(clips,)`): Index of the emotion meant.
        scores (`np.ndarray` of shape `(clips, labels)`): Probabilities as they are shown, at their temperature.
        weights (`np.ndarray` of shape `(clips,)`, *optional*): How much each clip counts; all alike by default.
        wrong (`float`, *optional*, defaults to 0.1): The share.
        least (`float`, *optional*, defaults to 0.5): The threshold is not lower.

    Returns:
        `float`: from `least` to 0.95, in steps of 0.01; 0.95 where no lower one will do.
    """
    surest, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    counted = np.ones(len(targets)) if weights is None else weights
    for percent in range(round(100 * least), 95):
        sure = surest >= percent / 100
        if counted[sure & ~right].sum() <= wrong * counted[sure].sum():
            return percent / 100
    return 0.95
