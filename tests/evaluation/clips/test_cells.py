"""Cells of a cross-validation over corpora: which clips and emotions count, and which linear model stands beside."""

import numpy as np
import pytest

from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.evaluation.clips.cells import cells_of, markdown_of_cells


LABELS = ["angry", "happy", "sad"]


def item(corpus, emotion, speaker="s"):
    return {**clip_item("a.wav", emotion, f"{corpus}-{speaker}"), "corpus": corpus}


def one_hot(*rows):
    return np.eye(3)[list(rows)] * 0.7 + 0.1


A = [item("A", "angry"), item("A", "happy")]
B = [item("B", "angry", "one"), item("B", "sad", "one"), item("B", "happy", "two"), item("B", "angry", "two")]


def test_emotions_that_one_side_lacks_do_not_count():
    scores = {"trained": one_hot(0, 1, 2, 1), "majority": one_hot(0, 0, 0, 0)}
    (cell,) = cells_of([(A, {"items": B})], scores, LABELS)
    assert (cell["trained_on"], cell["tested_on"], cell["clips"], cell["speakers"]) == (["A"], "B", 3, 2)
    assert cell["emotions"] == ["angry", "happy"] and set(cell["rows"]) == {"trained"}
    # Without sad, the third clip's probabilities of angry and happy are equal, and the first of them is taken.
    assert cell["rows"]["trained"]["uar"] == pytest.approx((0.5 + 0.0) / 2)
    confidences = [8 / 9, 0.5, 8 / 9]  # the first one alone is right
    wanted = (abs(confidences[0] + confidences[2] - 1) + confidences[1]) / 3
    assert cell["rows"]["trained"]["ece"] == pytest.approx(wanted)


def test_the_best_linear_model_stands_beside_and_folds_of_the_same_corpora_are_pooled():
    scores = {
        "logistic regression, layer 0": one_hot(0, 0, 0, 0),
        "logistic regression, layer 1": one_hot(0, 1, 1, 0),
        "trained": one_hot(0, 1, 0, 1),
    }
    whole = [*A, item("A", "sad")]
    (cell,) = cells_of([(whole, {"items": B[:2]}), (whole, {"items": B[2:]})], scores, LABELS)
    assert list(cell["rows"]) == ["trained", "logistic regression, layer 1"]
    assert cell["rows"]["logistic regression, layer 1"]["uar"] == pytest.approx(2 / 3)
    assert cell["clips"] == 4 and cell["emotions"] == LABELS


def test_each_corpus_that_is_tested_has_its_own_cell_and_line():
    other = [item("C", "angry"), item("C", "happy")]
    scores = {"trained": one_hot(0, 2, 1, 0, 1, 1)}
    cells = cells_of([(A, {"items": [*B, *other]})], scores, LABELS)
    assert [(cell["tested_on"], cell["rows"]["trained"]["uar"]) for cell in cells] == [("B", 1.0), ("C", 0.5)]
    assert cells[1]["rows"]["trained"]["uar_interval"] is None  # one speaker
    lines = markdown_of_cells(cells)
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert "| A | C | 2 | 1 | 2 | 0.500 |" in lines[3]


def test_corpora_without_a_common_emotion_have_no_cell():
    assert cells_of([(A, {"items": [item("B", "sad")]})], {"trained": one_hot(2)}, LABELS) == []
