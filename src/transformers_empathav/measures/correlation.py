"""Rank correlations of a measure with what people said, and their intervals."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import interval


KINDS = ("spearman", "partial", "within", "within_partial")


def rank(columns: np.ndarray) -> np.ndarray:
    """Ranks of each column `(rows, columns)`, equal values sharing their mean rank."""
    from scipy.stats import rankdata

    return rankdata(columns, axis=0)


def rank_within(columns: np.ndarray, groups: Sequence) -> np.ndarray:
    """Ranks among the rows of the same group, the group's mean rank taken off."""
    groups, ranked = np.asarray(groups), np.zeros(columns.shape)
    for name in np.unique(groups):
        rows = groups == name
        some = rank(columns[rows])
        ranked[rows] = some - some.mean(axis=0)
    return ranked


def correlations(ranked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""
    Correlations of the first column with each but the last, plain and with the last column held constant.

    Args:
        ranked (`np.ndarray` of shape `(rows, 2 + others)`): A measure, others, and what is held constant.

    Returns:
        `tuple`: both `(others,)`; not a number where a column is constant or the measure is what is held.
    """
    centred = ranked - ranked.mean(axis=0)
    products, lengths = centred.T @ centred, np.sqrt(np.sum(centred**2, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        table = products / np.outer(lengths, lengths)
        plain, held, of_held = table[0, 1:-1], table[0, -1], table[-1, 1:-1]
        if 1 - abs(held) < 1e-9:
            return plain, np.full(len(plain), np.nan)
        return plain, (plain - held * of_held) / np.sqrt((1 - held**2) * (1 - of_held**2))


def rank_correlations(
    measure: np.ndarray,
    ratings: dict[str, np.ndarray],
    held: np.ndarray,
    groups: Sequence[str],
    contexts: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, dict]]:
    r"""
    How a measure goes with ratings, with 95% bootstrap intervals over groups.

    Args:
        measure (`np.ndarray` of shape `(rows,)`): One value a reply; rows that are not a number are left out.
        ratings (`dict[str, np.ndarray]`): By scale, likewise.
        held (`np.ndarray` of shape `(rows,)`): What the partial correlations hold constant, such as length.
        groups (`list[str]`): What is drawn with replacement, whole: such as the conversation of each reply.
        contexts (`list[str]`): Replies to the same context share a name.
        draws, seed (`int`, *optional*, default to 1000 and 0): Of the bootstrap.

    Returns:
        `dict`: for each scale `n` and, each with `value`, `low` and `high`, `spearman` over all replies, `partial`
        with `held` constant, `within` among replies to the same context, and `within_partial`. What cannot be told is
        left out.
    """
    kept = np.isfinite(measure)
    columns = np.column_stack([measure, *ratings.values(), held])[kept].astype(float)
    _, group = np.unique(np.asarray(groups)[kept], return_inverse=True)
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1)] if kept.any() else []
    if len(members) < 2:
        return {}
    nested = rank_within(columns, np.asarray(contexts)[kept])

    def figures(rows: np.ndarray) -> np.ndarray:
        return np.stack([*correlations(rank(columns[rows])), *correlations(nested[rows])])

    rng, found = np.random.default_rng(seed), {}
    value = figures(np.arange(len(columns)))  # (kinds, scales)
    drawn = np.stack(
        [figures(np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))]))
         for _ in range(draws)]
    )  # fmt: skip
    for number, scale in enumerate(ratings):
        found[scale] = {"n": len(columns)}
        for kind, name in enumerate(KINDS):
            if np.isfinite(value[kind, number]):
                low, high = interval(drawn[:, kind, number])
                found[scale][name] = {"value": float(value[kind, number]), "low": low, "high": high}
    return found
