"""What a cross-validation says of each corpus, tested by extractors that were trained on the same or other corpora."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ...data.speaker_splits import corpus_of
from ...measures.recognition import calibration_error, uar_interval, unweighted_recall


LINEAR = "logistic regression"


def cells_of(folds: list[tuple[list[dict], dict]], scores: dict[str, np.ndarray], labels: Sequence[str]) -> list[dict]:
    r"""
    One cell for each tested corpus and what was trained on: how well the trained extractor does there, and the best of
    the linear models. Only emotions that both sides have count: clips of others are left out, and probabilities are
    those among the shared ones.

    Args:
        folds (`list[tuple]`): Training items and test predictions of each fold.
        scores (`dict[str, np.ndarray]`): Probabilities `(clips, labels)` of each row, of all folds in order.
        labels (`list[str]`): All emotions.

    Returns:
        `list[dict]`: `trained_on`, `tested_on`, `clips`, `speakers`, `emotions`, and under `rows` by name `uar`,
            `uar_interval` over speakers (or none) and `ece`.
    """
    members, taught, start = defaultdict(list), defaultdict(set), 0
    for kept, found in folds:
        trained_on = tuple(sorted(set(map(corpus_of, kept))))
        taught[trained_on] |= {item["messages"][-1]["emotion"] for item in kept}
        for row, item in enumerate(found["items"], start):
            members[trained_on, corpus_of(item)].append(row)
        start += len(found["items"])
    items = [item for _, found in folds for item in found["items"]]
    targets = np.array([labels.index(item["messages"][-1]["emotion"]) for item in items])
    cells = []
    for (trained_on, tested_on), rows in sorted(members.items()):
        shared = [index for index in np.unique(targets[rows]).tolist() if labels[index] in taught[trained_on]]
        rows = [row for row in rows if targets[row] in shared]
        if not rows:
            continue
        speakers = [items[row]["messages"][-1].get("speaker") or "unknown" for row in rows]
        meant = np.searchsorted(shared, targets[rows])
        measured = {
            name: measure(meant, values[np.ix_(rows, shared)], speakers)
            for name, values in scores.items()
            if name == "trained" or name.startswith(LINEAR)
        }
        linear = [name for name in measured if name != "trained"]
        best = max(linear, key=lambda name: measured[name]["uar"], default=None)
        cells.append(
            {
                "trained_on": list(trained_on),
                "tested_on": tested_on,
                "clips": len(rows),
                "speakers": len(set(speakers)),
                "emotions": [labels[index] for index in shared],
                "rows": {name: measured[name] for name in ("trained", best) if name is not None},
            }
        )
    return cells


def measure(targets: np.ndarray, scores: np.ndarray, speakers: list[str]) -> dict:
    """Measures of the probabilities among the shared emotions."""
    scores = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12)
    predicted = scores.argmax(axis=1)
    return {
        "uar": unweighted_recall(targets, predicted),
        "uar_interval": uar_interval(targets, predicted, speakers) if len(set(speakers)) > 1 else None,
        "ece": calibration_error(targets, scores),
    }


def markdown_of_cells(cells: list[dict]) -> list[str]:
    """The cells as lines of a table in Markdown."""
    lines = [
        "| trained on | tested on | clips | speakers | emotions | UAR (95% interval) | ECE | best linear | ECE |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cell in cells:
        (_, trained), *linear = cell["rows"].items()
        figures = [f"{with_interval(trained)} | {trained['ece']:.3f}"]
        figures += [
            f"{with_interval(row)}, {name.removeprefix(LINEAR + ', ')} | {row['ece']:.3f}" for name, row in linear
        ]
        lines.append(
            f"| {' '.join(cell['trained_on'])} | {cell['tested_on']} | {cell['clips']} | {cell['speakers']} | "
            f"{len(cell['emotions'])} | {' | '.join(figures if linear else [*figures, ' | '])} |"
        )
    return lines


def with_interval(row: dict) -> str:
    """UAR with its interval, if there is one."""
    if row["uar_interval"] is None:
        return f"{row['uar']:.3f}"
    low, high = row["uar_interval"]
    return f"{row['uar']:.3f} ({low:.3f}–{high:.3f})"
