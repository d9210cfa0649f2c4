"""Everything that a run writes about its pairs: a dataset of each kind, a table, and a page to read."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from .dataset import save_pairs
from .sheet import write_sheet
from .style_leak import LEAK, pair_measures, pair_table


logger = logging.getLogger(__name__)


def save_report(
    directory: str | os.PathLike,
    made: dict[str, tuple[Sequence[dict], dict]],
    facts: dict,
    inspect: int = 0,
    seed: int = 0,
) -> str:
    r"""
    Writes a dataset for each kind of pairs, `table.json`, `table.md` and, where it is asked for, `inspect.html`. Warns
    of kinds that leak their style.

    Args:
        directory (`str` or `os.PathLike`): Where all of it goes.
        made (`dict[str, tuple[Sequence[dict], dict]]`): Pairs and counts of [`make_pairs`], by kind.
        facts (`dict`): Settings that the cards list.
        inspect (`int`, *optional*, defaults to 0): Pairs of each kind on the page.
        seed (`int`, *optional*, defaults to 0): Of the draw of these.

    Returns:
        `str`: The table in Markdown.

    Raises:
        `ValueError`: a kind has no pair; nothing is written then.
    """
    directory = Path(directory)
    for kind, (pairs, counts) in made.items():
        if not pairs:
            rows = counts.get("row without a pair", 0)
            raise ValueError(
                f"None of {rows} contexts has a pair of kind {kind} ({listed(counts)}): loosen the limits, or take a "
                "better writer."
            )
    measures = {kind: pair_measures(pairs) for kind, (pairs, _) in made.items()}
    for kind, (pairs, counts) in made.items():
        save_pairs(pairs, directory / kind, kind, facts, counts, measures[kind])
        if measures[kind]["leaks"]:
            logger.warning(
                f"A bag of words tells chosen from rejected in pairs of kind {kind} in more than {LEAK:.0%} of cases: "
                "training can gain by style alone. Compare with a kind whose sides have one author."
            )
    if inspect:
        write_sheet(directory / "inspect.html", {kind: pairs for kind, (pairs, _) in made.items()}, inspect, seed)
    counts = {kind: counts for kind, (_, counts) in made.items()}
    (directory / "table.json").write_text(json.dumps({"measures": measures, "counts": counts}, indent=1))
    table = pair_table(measures)
    (directory / "table.md").write_text(table + "\n")
    return table


def listed(counts: dict) -> str:
    """Counts in one line, the largest first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
