"""Intervals and p-values by the bootstrap, over groups of samples that belong together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


DRAWS = 2000


def bootstrap_interval(
    measure: Callable[[np.ndarray], float],
    groups: Sequence[str],
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    r"""
    Interval of a measure over people: whole groups (speakers) are drawn with replacement, since clips of one speaker
    are not independent. scipy's bootstrap draws single samples only.

    Args:
        measure (`Callable`): Takes indices of clips, repeated as they were drawn, and gives the figure.
        groups (`list[str]`): The speaker of each clip.
        draws (`int`, *optional*, defaults to 2000): Samples.
        level (`float`, *optional*, defaults to 0.95): Share of the samples inside.
        seed (`int`, *optional*, defaults to 0): Of the draws.

    Raises:
        `ValueError`: there is one group alone.
    """
    groups = np.asarray(groups)
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    if len(members) < 2:
        raise ValueError(
            f"All clips are of {groups[0]!r}: an interval over people needs two or more. Bootstrap over takes instead."
        )
    rng = np.random.default_rng(seed)
    drawn = [
        measure(np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))]))
        for _ in range(draws)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean(sums: np.ndarray) -> np.ndarray:
    """Mean out of a sum and its weight, `(..., 2)`; not a number where the weight is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def perplexity(sums: np.ndarray) -> np.ndarray:
    """Perplexity of summed nats and token counts `(..., 2)`."""
    return np.exp(mean(sums))


@dataclass
class Scores:
    r"""
    What a measure found in each reply. The figure of any selection of replies follows from sums over them, so that
    thousands of bootstrap samples are cheap.

    Args:
        statistics (`np.ndarray` of shape `(replies, numbers)`): Of each reply.
        combine (`Callable`): Sums over replies `(..., numbers)` to figures `(...)`; the mean of the first number,
            weighted by the second, by default.
    """

    statistics: np.ndarray
    combine: Callable[[np.ndarray], np.ndarray] = mean

    @classmethod
    def of_values(cls, values: Sequence[float], weights: Sequence[float] | None = None) -> "Scores":
        """The mean of one value a reply; a reply whose weight is 0 does not count."""
        values = np.asarray(values, dtype=float)
        weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
        return cls(np.stack([np.where(weights > 0, values, 0.0) * weights, weights], axis=1))

    def __len__(self) -> int:
        return len(self.statistics)

    def __getitem__(self, rows: np.ndarray) -> "Scores":
        return Scores(self.statistics[rows], self.combine)

    def spread(self, rows: np.ndarray, count: int) -> "Scores":
        """The same among `count` replies: those at `rows` have these values, the others do not count."""
        statistics = np.zeros((count, self.statistics.shape[1]))
        statistics[rows] = self.statistics
        return Scores(statistics, self.combine)

    def count(self) -> int:
        """Replies that count: those whose last number, a weight or a length, is not 0."""
        return int(np.count_nonzero(self.statistics[:, -1]))

    def values(self) -> np.ndarray:
        """The figure of each reply by itself `(replies,)`; not a number where it does not count."""
        found = np.asarray(self.combine(self.statistics), dtype=float)
        return np.where(self.statistics[:, -1] != 0, found, np.nan)

    def figure(self) -> float:
        """The figure over all replies."""
        return float(self.combine(self.statistics.sum(axis=0)))

    def draws(self, groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
        """
        The figure of each bootstrap sample `(draws,)`: whole groups are drawn with replacement, and the same ones for
        the same `groups` and `seed`, so that differences of two measures are paired.
        """
        names, index = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.zeros((len(names), self.statistics.shape[1]))
        np.add.at(sums, index, self.statistics)
        return self.combine(times_drawn(len(names), draws, seed) @ sums)


@lru_cache(maxsize=4)
def times_drawn(groups: int, draws: int, seed: int) -> np.ndarray:
    """How often each group is in each bootstrap sample, `(draws, groups)`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)


def summary(scores: Scores, groups: Sequence[str], draws: int = DRAWS, level: float = 0.95, seed: int = 0) -> dict:
    """`value` with the ends of its interval, `low` and `high`; no interval for one group alone."""
    if len(set(groups)) < 2:
        return {"value": scores.figure()}
    low, high = interval(scores.draws(groups, draws, seed), level)
    return {"value": scores.figure(), "low": low, "high": high}


def paired_difference(
    first: Scores, second: Scores, groups: Sequence[str], draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> dict:
    """
    `first` minus `second` over the same replies: `value`, `low`, `high` and the two-sided `p`, twice the share of
    bootstrap samples on the rarer side of zero (Efron and Tibshirani, 1993), never below `2 / (draws + 1)`.
    """
    value = first.figure() - second.figure()
    if len(set(groups)) < 2:
        return {"value": value}
    drawn = first.draws(groups, draws, seed) - second.draws(groups, draws, seed)
    drawn = drawn[np.isfinite(drawn)]
    low, high = interval(drawn, level)
    rarer = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    return {"value": value, "low": low, "high": high, "p": float(min(2 * (rarer + 1) / (len(drawn) + 1), 1.0))}


def interval(drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Both ends of the middle `level` of the samples that are numbers."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
