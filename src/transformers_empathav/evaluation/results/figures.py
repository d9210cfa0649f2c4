"""From scores to results.json: figures with intervals, comparisons, and where they came from."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...measures.bootstrap import Scores, interval, paired_difference, summary
from ...measures.replies import length_matched


LIBRARIES = ("torch", "transformers", "peft", "numpy", "sacrebleu", "rouge_score", "nltk", "transformers-empathav")
FEWEST = 20  # replies of equal length below which a comparison says nothing


def figures(scores: dict[str, Scores], groups: Sequence[str]) -> dict[str, dict]:
    """`value`, `low`, `high` and `n` of each measure; a measure that no reply counts for is left out."""
    return {
        name: rounded({**summary(measured, groups), "n": measured.count()})
        for name, measured in scores.items()
        if measured.count()
    }


def differences(first: dict[str, Scores], second: dict[str, Scores], groups: Sequence[str]) -> dict[str, dict]:
    """[`paired_difference`] of each measure that both have, with `n`, and `relative` to the second's figure."""
    found = {}
    for name in first:
        if name in second and first[name].count() and second[name].count():
            difference = paired_difference(first[name], second[name], groups)
            base = second[name].figure()
            relative = {"relative": difference["value"] / abs(base)} if base else {}
            found[name] = rounded({**difference, **relative, "n": first[name].count()})
    return found


def compare_systems(
    scores: dict[str, dict[str, Scores]], replies: dict[str, list[dict]], name: str, groups: Sequence[str]
) -> dict[str, dict]:
    r"""
    One system against each other one.

    Returns:
        `dict`: for each `"name - other"` the [`differences`] over `all` contexts, and over the `length_matched` ones
        of that pair, see [`length_matched`]; the latter are `None` with fewer than `FEWEST` contexts.
    """
    found, groups = {}, np.asarray(groups)
    for other in scores:
        if other == name:
            continue
        rows = length_matched(replies[name], replies[other])
        matched = None
        if len(rows) >= FEWEST:
            some = [{measure: one[rows] for measure, one in scores[side].items()} for side in (name, other)]
            matched = differences(*some, groups[rows])
        found[f"{name} - {other}"] = {
            "all": differences(scores[name], scores[other], groups),
            "length_matched": matched,
            "length_matched_contexts": len(rows),
        }
    return found


def history_table(scores: dict[str, Scores], groups: Sequence[str]) -> dict:
    """Perplexities of variants of the history, and how far each is above that of the full prompt, as a share."""
    table = figures(scores, groups)
    if "full" in scores and len(set(groups)) > 1:
        drawn = scores["full"].draws(groups)
        for name, row in table.items():
            low, high = interval(scores[name].draws(groups) / drawn - 1)
            value = scores[name].figure() / scores["full"].figure() - 1
            row["above_full"] = rounded({"value": value, "low": low, "high": high})
    pairs = [("own", other) for other in scores if other != "own"] if "own" in scores else []
    return {
        "variants": table,
        "differences": {
            f"{first} - {second}": rounded(paired_difference(scores[first], scores[second], groups))
            for first, second in pairs
        },
    }


def outside(found: dict, reference: dict, place: str = "") -> tuple[list[str], int]:
    r"""
    Holds the figures of one results.json against the intervals of another.

    Returns:
        `tuple[list[str], int]`: the places of figures that lie outside of the interval that `reference` has for them,
        with both, and how many figures both have.
    """
    if isinstance(found, list) and isinstance(reference, list):
        found, reference = (dict(enumerate(one)) for one in (found, reference))
    if not isinstance(found, dict) or not isinstance(reference, dict):
        return [], 0
    if {"value", "low", "high"} <= found.keys() & reference.keys():
        value, low, high = found["value"], reference["low"], reference["high"]
        return ([] if low <= value <= high else [f"{place}: {value:g}, not {low:g} to {high:g}"]), 1
    parts = [
        outside(part, reference[name], f"{place}, {name}" if place else str(name))
        for name, part in found.items()
        if name in reference
    ]
    return [line for lines, _ in parts for line in lines], sum(count for _, count in parts)


def rounded(figures: dict) -> dict:
    """Numbers to six significant digits, which hides the last bits of other summation orders."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
        for name, value in figures.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def versions() -> dict[str, str]:
    """What the figures were computed with."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def write_json(path: str | os.PathLike, content: dict):
    """Writes JSON in one step; the same content, in the same order, gives the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    os.replace(partial, path)
