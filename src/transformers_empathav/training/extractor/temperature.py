"""The temperature of probabilities, found on speakers who were not trained on."""

import numpy as np
from scipy.optimize import minimize_scalar


def best_temperature(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    r"""
    The temperature at which the probabilities of the right labels are highest (Guo et al., arXiv 1706.04599).

    Args:
        targets (`np.ndarray` of shape `(clips,)`): Index of the emotion meant.
        scores (`np.ndarray` of shape `(clips, labels)`): Probabilities at the temperature 1.
        weights (`np.ndarray` of shape `(clips,)`, *optional*): How much each clip counts; all alike by default.

    Returns:
        `float`: between 0.1 and 10.
    """
    odds = np.log(np.maximum(scores, 1e-12))

    def missed(power: float) -> float:
        cooled = odds / np.exp(power)
        log_probs = cooled - np.logaddexp.reduce(cooled, axis=1, keepdims=True)
        return -np.average(log_probs[np.arange(len(targets)), targets], weights=weights)

    return float(np.exp(minimize_scalar(missed, bounds=(np.log(0.1), np.log(10)), method="bounded").x))
