"""Shares of yes and no, with their interval."""

from collections.abc import Sequence

from scipy.stats import binomtest


def wilson(flags: Sequence[bool]) -> tuple[float, float]:
    """95% interval (Wilson, 1927) of the share of true values; from 0 to 1 where there are none at all."""
    if not len(flags):
        return 0.0, 1.0
    found = binomtest(int(sum(flags)), len(flags)).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
