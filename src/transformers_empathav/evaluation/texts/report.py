"""The report of a text emotion classifier: measures on labelled texts, against baselines, with intervals."""

import json
import os
from pathlib import Path

import numpy as np

from ...emotion.text_classifier import EmotionScorer
from ...measures.recognition import (
    confusion_matrix,
    emotion_metrics,
    majority,
    uar_interval,
    weighted_f1_interval,
)
from ...modeling.configuration_empathav import EMOTION_LABELS
from .lexicon import lexicon_scores


def text_emotion_table(
    rows: list[dict], scorers: dict[str, np.ndarray], draws: int = 2000
) -> dict[str, dict[str, float]]:
    r"""
    Measures of each scorer, with 95 % intervals of UAR and weighted F1 by bootstrap over dialogues.

    Args:
        rows (`list[dict]`): With `label` and `dialogue`, as `labelled_texts` gives them.
        scorers (`dict[str, np.ndarray]`): Probabilities `(rows, 7)` of each.
        draws (`int`): Samples of the bootstrap.
    """
    targets, dialogues = np.array([row["label"] for row in rows]), [row["dialogue"] for row in rows]
    table = {}
    for name, scores in scorers.items():
        predicted = scores.argmax(axis=1)
        table[name] = emotion_metrics(targets, scores) | {
            "uar_interval": uar_interval(targets, predicted, dialogues, draws=draws),
            "weighted_f1_interval": weighted_f1_interval(targets, predicted, dialogues, draws=draws),
        }
    return table


def write_text_report(
    directory: str | os.PathLike,
    scorer: EmotionScorer,
    train: dict[str, list[dict]],
    held_out: dict[str, list[dict]],
    facts: dict,
) -> dict:
    r"""
    Writes `report.json` and, as the directory's README.md, the table with what it was trained on; prints the table.

    Args:
        train, held_out (`dict[str, list[dict]]`):
            Labelled texts of each corpus that is reported; the shares of emotions in `train` are the first baseline.
        facts (`dict`): Of the training: `trained_on`, `texts`, `seed`.

    Returns:
        `dict`: What stands in `report.json`.
    """
    report = {**facts, "labels": list(EMOTION_LABELS), "corpora": {}, "confusion": {}}
    lines = [
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\n---\n\n# Emotion of replies\n",
        f"Labels: {', '.join(EMOTION_LABELS)}. Trained on {facts['texts']} texts of the train split of "
        f"{' and '.join(facts['trained_on'])} (research data, non-commercial), seed {facts['seed']}, by "
        "recipes/emotion_scorer.py. It reads one utterance without its context.\n",
        "95% intervals over dialogues of the dev split. The lexicon is a list of words of this project, fitted to no "
        "corpus.",
    ]
    for name, rows in held_out.items():
        texts = [row["text"] for row in rows]
        scores = {
            "majority": majority(np.array([row["label"] for row in train[name]]), len(rows), len(EMOTION_LABELS)),
            "lexicon": lexicon_scores(texts),
            "scorer": scorer(texts),
        }
        table = report["corpora"][name] = text_emotion_table(rows, scores)
        targets = np.array([row["label"] for row in rows])
        report["confusion"][name] = confusion_matrix(targets, scores["scorer"].argmax(axis=1), 7).tolist()
        there = [EMOTION_LABELS[label] for label in np.unique(targets)]
        lines += [
            f"\n{name}: {len(rows)} texts, {len({row['dialogue'] for row in rows})} dialogues; {', '.join(there)}.\n",
            "| | UAR | 95% interval | weighted F1 | 95% interval | accuracy | ECE |",
            "| --- | ---: | --- | ---: | --- | ---: | ---: |",
        ]
        for row, found in table.items():
            (low, high), (f1_low, f1_high) = found["uar_interval"], found["weighted_f1_interval"]
            lines.append(
                f"| {row} | {found['uar']:.3f} | {low:.3f} to {high:.3f} | {found['weighted_f1']:.3f} | "
                f"{f1_low:.3f} to {f1_high:.3f} | {found['accuracy']:.3f} | {found['ece']:.3f} |"
            )
    text = "\n".join(lines) + "\n"
    (Path(directory) / "report.json").write_text(json.dumps(report, indent=1))
    (Path(directory) / "README.md").write_text(text)
    print(text)
    return report
