"""What a face tower is worth on labelled faces: measures with intervals, and its confusions."""

import json
import os
from pathlib import Path

import numpy as np
import torch

from ...data.faces import Faces
from ...measures.bootstrap import Scores, summary
from ...measures.recognition import confusion_matrix, emotion_metrics
from ...modeling.configuration_empathav import EMOTION_LABELS
from ...modeling.face_encoder_empathav import FaceEncoder


BINS = 10


@torch.no_grad()
def face_scores(model: FaceEncoder, faces: Faces, batch_size: int = 256) -> np.ndarray:
    """Probabilities `(faces, 7)` in the order of `EMOTION_LABELS`, one look at each face as it is."""
    order = [model.config.label2id[label] for label in EMOTION_LABELS]
    found = []
    for start in range(0, len(faces), batch_size):
        pixels = torch.from_numpy(faces.pixels[start : start + batch_size]).to(model.device)
        pixels = (pixels.float() / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)
        found.append(model(pixels, return_dict=True).logits.float().softmax(dim=-1)[:, order].cpu())
    return torch.cat(found).numpy()


def face_table(faces: Faces, scores: np.ndarray, draws: int = 2000) -> dict:
    """
    Measures of probabilities; accuracy, UAR and ECE with 95 % intervals by bootstrap over pictures (who is seen is
    not known, so people who are seen more than once make these intervals too narrow), and the confusions.
    """
    labels, targets, predicted = len(EMOTION_LABELS), faces.labels, scores.argmax(axis=1)
    right, sure = predicted == targets, scores.max(axis=1)
    row, ones = np.arange(len(targets)), np.ones((len(targets), 1))
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

    _, pictures = np.unique(faces.pixels.reshape(len(faces), -1), axis=0, return_inverse=True)
    measures = {
        "accuracy": Scores.of_values(right.astype(float)),
        "uar": Scores(recall, uar),
        "ece": Scores(np.concatenate([gaps, ones], axis=1), ece),
    }
    plain = emotion_metrics(targets, scores)
    return {
        "faces": len(faces),
        **{name: summary(measure, pictures.reshape(-1), draws) for name, measure in measures.items()},
        "weighted_f1": plain["weighted_f1"],
        "nll": plain["nll"],
        "recall": {EMOTION_LABELS[label]: float(np.mean(right[targets == label])) for label in there},
        "confusion": confusion_matrix(targets, predicted, labels).tolist(),
    }


def write_face_report(
    directory: str | os.PathLike, model: FaceEncoder, corpora: dict[str, Faces], facts: dict, draws: int = 2000
) -> dict:
    r"""
    Writes `report.json`, and prints a table.

    Args:
        corpora (`dict[str, Faces]`): Faces by the name of what they are, none of which the tower was trained on.
        facts (`dict`): What else is to be known: data, seed, hardware.
    """
    tables = {name: face_table(faces, face_scores(model, faces), draws) for name, faces in corpora.items()}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    report = {**facts, "parameters": parameters, "labels": list(EMOTION_LABELS), "corpora": tables}
    (Path(directory) / "report.json").write_text(json.dumps(report, indent=1))
    print("| faces | number | accuracy | UAR | ECE |\n| --- | ---: | ---: | ---: | ---: |")
    for name, table in tables.items():
        cells = [
            f"{table[measure]['value']:.3f} ({table[measure]['low']:.3f}–{table[measure]['high']:.3f})"
            for measure in ("accuracy", "uar", "ece")
        ]
        print(f"| {name} | {table['faces']} | {' | '.join(cells)} |")
    return report
