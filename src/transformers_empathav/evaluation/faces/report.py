"""What face towers are worth on labelled faces: measures with intervals, and confusions."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...data.faces import Faces
from ...measures.bootstrap import Scores, summary
from ...measures.recognition import confusion_matrix, emotion_metrics
from ...modeling.configuration_empathav import EMOTION_LABELS


BINS = 10


def picture_of(faces: Faces) -> np.ndarray:
    """A number for each face, the same for copies of one picture."""
    return np.unique(faces.pixels.reshape(len(faces), -1), axis=0, return_inverse=True)[1].reshape(-1)


def face_table(targets: np.ndarray, scores: np.ndarray, groups: Sequence, draws: int = 2000) -> dict:
    """
    Measures of probabilities; accuracy, UAR and ECE with 95 % intervals by bootstrap over `groups`. Where a group is a
    picture and not a person, people who are seen more than once make these intervals too narrow.
    """
    labels, predicted, sure = len(EMOTION_LABELS), scores.argmax(axis=1), scores.max(axis=1)
    right, row, ones = predicted == targets, np.arange(len(targets)), np.ones((len(targets), 1))
    recall = np.zeros((len(targets), 2 * labels))
    recall[row, targets], recall[row, labels + targets] = right, 1
    gaps = np.zeros((len(targets), BINS))
    gaps[row, np.minimum((sure * BINS).astype(int), BINS - 1)] = sure - right
    there = np.unique(targets)

    def uar(sums):
        with np.errstate(invalid="ignore"):
            return np.nanmean((sums[..., :labels] / sums[..., labels:])[..., there], axis=-1)

    def ece(sums):
        return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]

    measures = {
        "accuracy": Scores.of_values(right.astype(float)),
        "uar": Scores(recall, uar),
        "ece": Scores(np.concatenate([gaps, ones], axis=1), ece),
    }
    plain = emotion_metrics(targets, scores)
    return {
        "rows": len(targets),
        **{name: summary(measure, groups, draws) for name, measure in measures.items()},
        "weighted_f1": plain["weighted_f1"],
        "nll": plain["nll"],
        "recall": {EMOTION_LABELS[label]: float(np.mean(right[targets == label])) for label in there},
        "confusion": confusion_matrix(targets, predicted, labels).tolist(),
    }


def write_face_report(directory: str | os.PathLike, towers: dict[str, dict[str, dict]], facts: dict):
    r"""
    Writes `report.json`, and prints a table.

    Args:
        towers (`dict[str, dict[str, dict]]`): Of each tower, what [`face_table`] found, by the name of the data.
        facts (`dict`): What else is to be known: data, seed, hardware.
    """
    report = {**facts, "labels": list(EMOTION_LABELS), "towers": towers}
    (Path(directory) / "report.json").write_text(json.dumps(report, indent=1))
    print("| tower | data | number | accuracy | UAR | ECE |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for tower, tables in towers.items():
        for name, table in tables.items():
            cells = [
                f"{table[measure]['value']:.3f} ({table[measure]['low']:.3f}–{table[measure]['high']:.3f})"
                for measure in ("accuracy", "uar", "ece")
            ]
            print(f"| {tower} | {name} | {table['rows']} | {' | '.join(cells)} |")
