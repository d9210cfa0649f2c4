"""What raters rate, and how far they agree."""

import numpy as np


SCALES = ("semantics", "empathy")


def agreement(ratings: np.ndarray) -> float | None:
    r"""
    Krippendorff's alpha of ordinal ratings.

    Args:
        ratings (`np.ndarray` of shape `(raters, items)`): Not a number where a rating is missing.

    Returns:
        `float` or `None`: `None` where alpha is not defined: no item has two ratings, or all ratings are the same.
    """
    try:
        import krippendorff
    except ImportError:
        raise ImportError("Agreement needs krippendorff: pip install krippendorff") from None
    compared = ratings[:, np.count_nonzero(~np.isnan(ratings), axis=0) > 1]
    if len(np.unique(compared[~np.isnan(compared)])) < 2:
        return None
    return round(float(krippendorff.alpha(ratings, level_of_measurement="ordinal")), 6)
