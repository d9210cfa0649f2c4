"""Automatic measures held against what people thought of the same replies."""

from collections.abc import Sequence

import numpy as np

from ...measures.bootstrap import Scores, interval
from ...measures.correlation import KINDS, rank, rank_correlations
from ...measures.replies import Instruments, measure_in_context, measure_likeness
from ..results.figures import rounded


def mean_ratings(row: dict) -> dict[str, float]:
    """The mean over raters of each scale."""
    return {scale: float(np.mean(given)) for scale, given in row["ratings"].items()}


def measure_rated(
    rows: list[dict], instruments: Instruments, human: str | None = None
) -> dict[str, dict[str, Scores]]:
    r"""
    The measures of each system's replies, as an evaluation counts them.

    Args:
        rows (`list[dict]`): Rated replies, of a loader of `data/ratings`.
        instruments ([`Instruments`]): What measures.
        human (`str`, *optional*): The system that is people. Its replies are not compared with themselves.

    Returns:
        `dict`: for each system its measures by name.
    """
    found = {}
    for system in dict.fromkeys(row["system"] for row in rows):
        some = [row for row in rows if row["system"] == system]
        said = [row["reply"] for row in some]
        found[system] = measure_in_context(some, said, instruments)
        if "completion" in some[0] and system != human:
            found[system] |= measure_likeness(some, said, instruments)
    return found


def validate(
    rows: list[dict],
    measured: dict[str, dict[str, Scores]],
    overall: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
) -> dict:
    r"""
    Correlates measures with ratings, for each thing that was rated and for each system.

    Args:
        rows (`list[dict]`): Rated replies. Rows with the same `rated`, replies of one talk, share their ratings, and
            count with the mean of what a measure finds in them.
        measured (`dict`): Of [`measure_rated`].
        overall (`list[str]`): Scales whose mean is the rating `overall`.
        draws, seed (`int`, *optional*, default to 1000 and 0): Of the bootstrap, over conversations.

    Returns:
        `dict`: `rated` (how many), `conversations`, `raters` (alphas and ceilings of [`reliability`], where there are
        several), `systems` (mean ratings and words), and under `measures` for each one the [`rank_correlations`] with
        each scale and with `overall`, and `systems`, the correlation of the systems' means.
    """
    ratings = {row["rated"]: mean_ratings(row) for row in rows}
    for given in ratings.values():
        given["overall"] = float(np.mean([given[scale] for scale in overall]))
    first = {row["rated"]: row for row in reversed(rows)}
    places = {name: place for place, name in enumerate(first)}
    scales = {scale: np.array([ratings[name][scale] for name in first]) for scale in next(iter(ratings.values()))}
    values = {name: per_rated(rows, measured, name, places) for name in names_of(measured)}
    groups, contexts = ([row[key] for row in first.values()] for key in ("conversation", "context"))
    result = {
        "rated": len(first),
        "conversations": len(set(groups)),
        "raters": reliability(rows, overall),
        "systems": {
            system: rounded(
                {"words": scores["words"].figure()}
                | {
                    scale: float(found[[row["system"] == system for row in first.values()]].mean())
                    for scale, found in scales.items()
                }
            )
            for system, scores in measured.items()
        },
        "measures": {},
    }
    for name, found in values.items():
        table = rank_correlations(found, scales, values["words"], groups, contexts, draws, seed)
        result["measures"][name] = {
            scale: {kind: rounded(one) if isinstance(one, dict) else one for kind, one in row.items()}
            for scale, row in table.items()
        } | {"systems": rounded(of_systems(rows, measured, name, ratings, draws, seed))}
    return result


def names_of(measured: dict[str, dict[str, Scores]]) -> list[str]:
    """Every measure that some system has."""
    return list(dict.fromkeys(name for scores in measured.values() for name in scores))


def per_rated(rows: list[dict], measured: dict, name: str, places: dict[str, int]) -> np.ndarray:
    """What a measure finds in each thing that was rated: the mean over its replies that count, else not a number."""
    sums, counts = np.zeros(len(places)), np.zeros(len(places))
    for system, scores in measured.items():
        if name in scores:
            some = [places[row["rated"]] for row in rows if row["system"] == system]
            found = scores[name].values()
            np.add.at(sums, some, np.where(np.isfinite(found), found, 0.0))
            np.add.at(counts, some, np.isfinite(found))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def of_systems(rows: list[dict], measured: dict, name: str, ratings: dict, draws: int, seed: int) -> dict:
    """
    Spearman's correlation of a measure with `overall` over the means of systems, with an interval over conversations
    and `n`, the number of systems. Nothing with fewer than three systems.
    """
    systems = [system for system, scores in measured.items() if name in scores and scores[name].count()]
    if len(systems) < 3:
        return {}
    sides, drawn = [[], []], [[], []]
    for system in systems:
        some = [row for row in rows if row["system"] == system]
        groups = [row["conversation"] for row in some]
        people = Scores.of_values([ratings[row["rated"]]["overall"] for row in some])
        for side, scores in enumerate((measured[system][name], people)):
            sides[side].append(scores.figure())
            drawn[side].append(scores.draws(groups, draws, seed))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.corrcoef(*(rank(np.array(side)[:, None])[:, 0] for side in sides))[0, 1]
        first, second = (rank(np.array(side)) for side in drawn)
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        spread = np.sum(first * second, axis=0) / np.sqrt(np.sum(first**2, axis=0) * np.sum(second**2, axis=0))
    low, high = interval(spread)
    return {"n": len(systems), "value": float(value), "low": low, "high": high}


def reliability(rows: list[dict], overall: Sequence[str]) -> dict[str, dict]:
    r"""
    How far raters agree, and what a perfect measure could reach.

    Args:
        rows (`list[dict]`): Rated replies whose `ratings` have one number a rater.
        overall (`list[str]`): Scales whose mean is `overall`.

    Returns:
        `dict`: for each scale and `overall`, `alpha` ([`rank_agreement`]) and `ceiling`, the root of the reliability
        of the raters' mean (Spearman and Brown), beyond which correlations are not to be expected; and both again as
        `alpha_within` and `ceiling_within` after each rater's mean of a context is taken off. Empty where each thing
        has one rater.
    """
    raters = np.ndim(next(iter(rows[0]["ratings"].values())))
    if not raters:
        return {}
    given = {scale: np.array([row["ratings"][scale] for row in rows]).T for scale in rows[0]["ratings"]}
    given["overall"] = np.mean([given[scale] for scale in overall], axis=0)
    _, context = np.unique([row["context"] for row in rows], return_inverse=True)
    found = {}
    for scale, table in given.items():
        sums = np.stack([np.bincount(context, weights=rater) for rater in table]) / np.bincount(context)
        found[scale] = {}
        for suffix, values in (("", table), ("_within", np.round(table - sums[:, context], 6))):
            alpha = rank_agreement(values)
            if np.isfinite(alpha):
                mean_of_all = len(table) * alpha / (1 + (len(table) - 1) * alpha)
                found[scale] |= rounded({f"alpha{suffix}": alpha, f"ceiling{suffix}": max(mean_of_all, 0.0) ** 0.5})
    return found


def rank_agreement(values: np.ndarray) -> float:
    r"""
    Krippendorff's alpha of the ranks of all ratings, by squared differences. The library krippendorff holds a number
    for each thing and pair of values, which are gigabytes where marks go from 0 to 100.

    Args:
        values (`np.ndarray` of shape `(raters, things)`): Ratings, none missing.
    """
    ranked = rank(values.reshape(-1, 1)).reshape(values.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(1 - ranked.var(axis=0, ddof=1).mean() / ranked.var(ddof=1))


def table(result: dict, scale: str = "overall") -> str:
    """The correlations of a study with one scale in Markdown, the strongest with length held constant first."""
    titles = ("all replies", "length held", "same context", "same context, length held")
    lines = [
        f"{result['rated']} rated, {result['conversations']} conversations; Spearman with {scale}, 95 % intervals.",
        "",
        f"| | n | {' | '.join(titles)} | means of systems |",
        f"| --- | ---: |{' ---: |' * (len(titles) + 1)}",
    ]
    if ceilings := result["raters"].get(scale):
        inside, outside_ = (f"{ceilings.get(name, float('nan')):.2f}" for name in ("ceiling_within", "ceiling"))
        lines.append(f"| *ceiling by the raters* | {result['rated']} | {outside_} | | {inside} | | |")

    def strength(name: str) -> float:
        return -result["measures"][name].get(scale, {}).get("partial", {"value": -2.0})["value"]

    for name in sorted(result["measures"], key=strength):
        row = result["measures"][name].get(scale, {})
        cells = [cell(row.get(kind)) for kind in KINDS] + [cell(result["measures"][name]["systems"])]
        lines.append(f"| {name.replace('_', ' ')} | {row.get('n', 0)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: dict | None) -> str:
    if not row or "value" not in row:
        return "–"
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else f"{row['value']:.2f}"
