"""results.json to pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...emotion.plots import COLOURS, figure
from .tables import (
    is_headline,
    measures_of,
)


def plot_measures(systems: dict[str, dict], measures: Sequence[str], path: str | os.PathLike, title: str = ""):
    """Writes figures with their intervals as PNG, a panel for each measure, a row for each system."""
    measures = [measure for measure in measures if any(measure in measured for measured in systems.values())]
    picture = figure(3.4 * len(measures), 1.2 + 0.4 * len(systems))
    for index, measure in enumerate(measures):
        axes = picture.add_subplot(1, len(measures), index + 1)
        for row, measured in enumerate(systems.values()):
            if measure in measured:
                one = measured[measure]
                error = [[one["value"] - one.get("low", one["value"])], [one.get("high", one["value"]) - one["value"]]]
                axes.errorbar(one["value"], row, xerr=error, fmt="o", capsize=3, color=COLOURS[row % len(COLOURS)])
        axes.set_yticks(range(len(systems)), list(systems) if not index else [""] * len(systems))
        axes.set_ylim(len(systems) - 0.5, -0.5)
        axes.set(title=measure.replace("_", " "))
        axes.title.set_fontsize(9)
    picture.suptitle(title, fontsize=10)
    picture.savefig(path, format="png")


def plots(results: dict, folder: str | os.PathLike) -> list[Path]:
    """All plots of results.json."""
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for corpus, part in results["corpora"].items():
        chosen = [measure for measure in measures_of(part["systems"]) if is_headline(measure)]
        written.append(folder / f"replies_{corpus}.png")
        plot_measures(part["systems"], chosen, written[-1], f"{part['contexts']} contexts of {corpus}")
    for part in results.get("history", ()):
        written.append(folder / f"history_{part['recent_turns']}.png")
        variants = {name: {"perplexity": row} for name, row in part["variants"].items()}
        plot_measures(variants, ["perplexity"], written[-1], f"{part['contexts']} replies, {part['corpus']}")
    return written
