import json

import numpy as np
import pytest

from transformers_empathav.data.faces import Faces
from transformers_empathav.evaluation.faces.report import face_table, picture_of, write_face_report
from transformers_empathav.measures.recognition import emotion_metrics
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


@pytest.fixture
def targets():
    return np.random.default_rng(0).integers(0, 6, 60)


@pytest.fixture
def scores(targets):
    scores = np.random.default_rng(1).dirichlet(np.ones(7), 60)
    scores[np.arange(60), targets] += np.arange(60) % 2  # every second one is right
    return scores / scores.sum(axis=1, keepdims=True)


def test_figures_are_those_of_the_measures_with_intervals(targets, scores):
    table, plain = face_table(targets, scores, np.arange(60), draws=200), emotion_metrics(targets, scores)
    for name in ("accuracy", "uar", "ece"):
        assert table[name]["value"] == pytest.approx(plain[name])
        assert table[name]["low"] < table[name]["high"]
    assert table["accuracy"]["low"] < table["accuracy"]["value"] < table["accuracy"]["high"]
    assert np.sum(table["confusion"]) == 60 and np.trace(table["confusion"]) == round(60 * plain["accuracy"])
    assert list(table["recall"]) == list(EMOTION_LABELS[:6])  # the seventh does not occur
    assert np.mean(list(table["recall"].values())) == pytest.approx(plain["uar"])


def test_copies_of_a_picture_are_drawn_together(targets, scores):
    pixels = np.random.default_rng(2).integers(0, 255, (60, 4, 4), dtype=np.uint8)
    twice = Faces(np.tile(pixels, (2, 1, 1)), np.tile(targets, 2), list(map(str, range(120))))
    assert (picture_of(twice)[:60] == picture_of(twice)[60:]).all() and len(set(picture_of(twice))) == 60
    groups = picture_of(twice)
    once = face_table(targets, scores, groups[:60], 500)
    double = face_table(twice.labels, np.tile(scores, (2, 1)), groups, 500)
    assert double["accuracy"] == pytest.approx(once["accuracy"]) and double["uar"] == pytest.approx(once["uar"])


def test_the_report_says_what_was_measured(targets, scores, tmp_path, capsys):
    table = face_table(targets, scores, np.arange(60), draws=50)
    write_face_report(tmp_path, {"residual": {"dev": table}}, {"seed": 3})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seed"] == 3 and report["towers"]["residual"]["dev"]["uar"] == table["uar"]
    assert f"| residual | dev | 60 | {table['accuracy']['value']:.3f} (" in capsys.readouterr().out
