"""The report of a cross-validation: the trained extractor and its baselines, pooled over folds, with intervals."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...measures.recognition import (
    confusion_matrix,
    emotion_metrics,
    majority,
    paired_uar_interval,
    per_group,
    uar_interval,
)
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from ...processing.processing_empathav import EmpathAVProcessor
from ...training.extractor.dataset import EmotionDataset
from ...training.extractor.trainer import EmotionTrainer
from ...training.feature_cache import FeatureCache
from .baselines import face_network, layer_statistics, logistic_regression, transcript_alone
from .cells import LINEAR, cells_of, markdown_of_cells
from .plots import plot_confusion


PREDICTIONS_FILE = "predictions.json"
MEASURES = ("uar", "accuracy", "weighted_f1", "ece", "nll")


def write_predictions(
    path: Path, trainer: EmotionTrainer, items: list[dict], cache: FeatureCache, group: Callable[[dict], str]
):
    r"""
    Scores the test clips of a fold and writes them as JSON. If all of them have sound and frames, they are scored with
    one stream alone too. Call it on all processes.

    Args:
        path (`Path`): The file; its folder is made.
        trainer ([`EmotionTrainer`]): Trained on the other folds.
        items (`list[dict]`): The test clips.
        cache ([`FeatureCache`]): Gives their features.
        group (`Callable`): What the fold holds out of a clip, such as its speaker.
    """
    model = trainer.accelerator.unwrap_model(trainer.model).model
    labels = model.config.emotion_labels
    dataset = EmotionDataset(items, cache, labels)
    scores = {"trained": trainer.scores(dataset)}
    if all(
        any(window.audio is not None and window.video is not None for window in cache.load(item)) for item in items
    ):
        for stream in ("audio", "video"):
            scores[f"trained, {stream} alone"] = trainer.scores(EmotionDataset(items, cache, labels, only=stream))
    if trainer.is_world_process_zero():
        content = {
            "items": items,
            "groups": [group(item) for item in items],
            "targets": dataset.targets,
            "scores": {name: values.tolist() for name, values in scores.items()},
            "audio_layer_weights": model.model.extractor.audio_mix.logits.detach().float().softmax(0).tolist(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    trainer.accelerator.wait_for_everyone()


def read_predictions(path: Path) -> dict:
    """Reads what [`write_predictions`] wrote."""
    content = json.loads(path.read_text())
    content["scores"] = {name: np.array(values) for name, values in content["scores"].items()}
    return content


def baseline_scores(
    model: EmpathAVForCausalLM,
    processor: EmpathAVProcessor,
    cache: FeatureCache,
    folds: list[tuple[list[dict], dict]],
) -> dict[str, np.ndarray]:
    r"""
    Probabilities of each baseline for the test clips of all folds, one after the other.

    Args:
        folds (`list[tuple]`): Training items and test predictions of each fold.
    """
    labels = model.config.emotion_labels
    items = {clip_key(item): item for side in folds for item in [*side[0], *side[1]["items"]]}
    where = {key: index for index, key in enumerate(items)}
    statistics = layer_statistics(cache.load(item) for item in items.values())
    rows: dict[str, list[np.ndarray]] = {}
    for kept, found in folds:
        targets = np.array([labels.index(item["messages"][-1]["emotion"]) for item in kept])
        train, test = ([where[clip_key(item)] for item in side] for side in (kept, found["items"]))
        rows.setdefault("majority", []).append(majority(targets, len(test), len(labels)))
        for name, heard in ({} if statistics is None else linear_inputs(statistics)).items():
            known = logistic_regression(heard[train], targets, heard[test], len(labels))
            rows.setdefault(f"{LINEAR}, {name}", []).append(known)
        rows.setdefault("words alone", []).append(transcript_alone(model, processor, found["items"]))
        face = face_network(model, (cache.load(item) for item in found["items"]))
        if face is not None:
            rows.setdefault("face network, untrained", []).append(face)
    # Only clips with frames have a face network's scores, and those of some folds may have none.
    return {name: np.concatenate(scores) for name, scores in rows.items() if len(scores) == len(folds)}


def linear_inputs(statistics: np.ndarray) -> dict[str, np.ndarray]:
    """What each linear model reads `(rows, features)` of statistics `(rows, layers, 2 * width)`, by its name."""
    layers, width = statistics.shape[1], statistics.shape[2] // 2
    found = {f"layer {layer}": statistics[:, layer] for layer in range(layers)}
    if layers > 3:
        found["layers 2+3"] = statistics[:, 2:4]
        found["means of layers 1+2+3"] = statistics[:, 1:4, :width]
    return {name: heard.reshape(len(heard), -1) for name, heard in found.items()}


def clip_key(item: dict) -> str:
    """A key of a clip that is unique over all corpora, as its id is not."""
    return json.dumps(item["messages"][-1]["content"])


def table_of(found: list[dict], scores: dict[str, np.ndarray], resample: list[str]) -> dict[str, dict]:
    r"""
    Measures of each row of the table, with its UAR in each fold and an interval.

    Args:
        found (`list[dict]`): Predictions of each fold.
        scores (`dict[str, np.ndarray]`): Probabilities `(clips, labels)` of each row, of all folds in order.
        resample (`list[str]`): The group of each clip for the bootstrap.
    """
    targets = np.concatenate([fold["targets"] for fold in found])
    ends = np.cumsum([len(fold["targets"]) for fold in found])[:-1]
    table = {}
    for name, values in scores.items():
        predicted = values.argmax(axis=1)
        folds = [
            emotion_metrics(np.array(fold["targets"]), part)["uar"]
            for fold, part in zip(found, np.split(values, ends))
        ]
        table[name] = emotion_metrics(targets, values) | {
            "uar_interval": uar_interval(targets, predicted, resample),
            "uar_by_fold": folds,
        }
    return table


def write_report(
    directory: str | os.PathLike,
    model: EmpathAVForCausalLM,
    processor: EmpathAVProcessor,
    cache: FeatureCache,
    folds: list[tuple[list[dict], dict]],
    baselines: bool = True,
) -> dict:
    r"""
    Writes `report.json`, `report.md` and `confusion.png`, and prints the table.

    Args:
        folds (`list[tuple]`): Training items and test predictions of each fold.
        baselines (`bool`): Whether baselines are computed too.

    Returns:
        `dict`: What stands in `report.json`.
    """
    directory, labels, found = Path(directory), model.config.emotion_labels, [fold for _, fold in folds]
    items = [item for fold in found for item in fold["items"]]
    targets = np.concatenate([fold["targets"] for fold in found])
    measured = [name for name in found[0]["scores"] if all(name in fold["scores"] for fold in found)]
    scores = {name: np.concatenate([fold["scores"][name] for fold in found]) for name in measured}
    speakers = [item["messages"][-1].get("speaker") or "unknown" for item in items]
    several = len(set(speakers)) > 1
    resample = speakers if several else [item["id"] for item in items]
    if baselines:
        scores = baseline_scores(model, processor, cache, folds) | scores
    predicted = scores["trained"].argmax(axis=1)
    report = {
        "clips": len(items),
        "speakers": len(set(speakers)),
        "intervals_over": "speakers" if several else "clips of one speaker",
        "folds": [sorted(set(fold["groups"])) for fold in found],
        "table": table_of(found, scores, resample),
        "by_speaker": per_group(targets, predicted, speakers),
        "recall": {
            label: float(np.mean(predicted[targets == index] == index))
            for index, label in enumerate(labels)
            if (targets == index).any()
        },
        "confusion": confusion_matrix(targets, predicted, len(labels)).tolist(),
        "cells": cells_of(folds, scores, labels),
        "audio_layer_weights_by_fold": [fold["audio_layer_weights"] for fold in found],
    }
    alone = [name for name in scores if name.endswith(" alone") and name.startswith("trained")]
    if alone:
        best = max(alone, key=lambda name: report["table"][name]["uar"])
        report["both_minus_better"] = {
            "better": best,
            "uar": report["table"]["trained"]["uar"] - report["table"][best]["uar"],
            "interval": paired_uar_interval(targets, predicted, scores[best].argmax(axis=1), resample),
        }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(report, indent=1))
    text = markdown(report)
    (directory / "report.md").write_text(text)
    title = f"{len(items)} clips of {len(set(speakers))} speaker{'s' * several}, each held out"
    plot_confusion(np.array(report["confusion"]), labels, directory / "confusion.png", title)
    print(text)
    return report


def markdown(report: dict) -> str:
    """The report as a table in Markdown."""
    lines = [
        f"{report['clips']} clips, {report['speakers']} speakers; 95% intervals over {report['intervals_over']}.",
        "",
        "| | UAR | 95% interval | by fold | accuracy | weighted F1 | ECE |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: |",
    ]
    for name, row in report["table"].items():
        low, high = row["uar_interval"]
        folds = " ".join(f"{value:.2f}" for value in row["uar_by_fold"])
        lines.append(
            f"| {name} | {row['uar']:.3f} | {low:.3f} to {high:.3f} | {folds} | {row['accuracy']:.3f} | "
            f"{row['weighted_f1']:.3f} | {row['ece']:.3f} |"
        )
    if len(report["cells"]) > 1:
        lines += ["", *markdown_of_cells(report["cells"])]
    if gain := report.get("both_minus_better"):
        low, high = gain["interval"]
        lines += ["", f"Both streams minus {gain['better']}: UAR {gain['uar']:+.3f} ({low:+.3f} to {high:+.3f})."]
    lines += ["", "Recall: " + ", ".join(f"{label} {value:.2f}" for label, value in report["recall"].items()) + "."]
    return "\n".join(lines) + "\n"
