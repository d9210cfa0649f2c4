import json

import numpy as np
import pytest
import torch

from transformers_empathav.data.faces import Faces
from transformers_empathav.evaluation.faces.report import face_scores, face_table, write_face_report
from transformers_empathav.measures.recognition import emotion_metrics
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS, FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder


@pytest.fixture
def faces():
    rng = np.random.default_rng(0)
    return Faces(rng.integers(0, 255, (60, 16, 16), dtype=np.uint8), rng.integers(0, 6, 60), list(map(str, range(60))))


@pytest.fixture
def tower():
    torch.manual_seed(0)
    config = FaceEncoderConfig(architecture="residual", image_size=16, stem_channels=4, module_channels=[8])
    return FaceEncoder(config).eval()


def test_figures_are_those_of_the_measures_and_lie_in_their_intervals(faces):
    scores = np.random.default_rng(1).dirichlet(np.ones(7), 60)
    scores[np.arange(60), faces.labels] += np.arange(60) % 2  # every second one is right
    scores /= scores.sum(axis=1, keepdims=True)
    table, plain = face_table(faces, scores, draws=200), emotion_metrics(faces.labels, scores)
    for name in ("accuracy", "uar", "ece"):
        assert table[name]["value"] == pytest.approx(plain[name])
        assert table[name]["low"] <= table[name]["value"] + 0.05 and table[name]["high"] >= table[name]["value"] - 0.05
        assert table[name]["low"] < table[name]["high"]
    assert np.sum(table["confusion"]) == 60 and np.trace(table["confusion"]) == round(60 * plain["accuracy"])
    assert list(table["recall"]) == list(EMOTION_LABELS[:6])  # the seventh does not occur
    assert np.mean(list(table["recall"].values())) == pytest.approx(plain["uar"])


def test_copies_of_a_picture_are_drawn_together(faces):
    scores = np.random.default_rng(1).dirichlet(np.ones(7), 60)
    twice = Faces(np.tile(faces.pixels, (2, 1, 1)), np.tile(faces.labels, 2), faces.ids * 2)
    once, double = face_table(faces, scores, 500), face_table(twice, np.tile(scores, (2, 1)), 500)
    assert double["accuracy"] == pytest.approx(once["accuracy"])


@torch.no_grad()
def test_scores_follow_the_names_of_labels(faces, tower):
    pixels = torch.from_numpy(faces.pixels).float()[:, None].expand(-1, 3, -1, -1) / 127.5 - 1
    expected = tower(pixels).logits.softmax(-1).numpy()
    assert np.allclose(face_scores(tower, faces, batch_size=7), expected, atol=1e-5)
    tower.config.id2label = dict(enumerate(EMOTION_LABELS[::-1]))
    tower.config.label2id = {label: index for index, label in tower.config.id2label.items()}
    assert np.allclose(face_scores(tower, faces), expected[:, ::-1], atol=1e-5)


def test_the_report_says_what_was_measured(faces, tower, tmp_path, capsys):
    written = write_face_report(tmp_path, tower, {"dev": faces}, {"seed": 3}, draws=50)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seed"] == 3 and report["parameters"] == sum(p.numel() for p in tower.parameters())
    assert report["corpora"]["dev"]["accuracy"]["value"] == written["corpora"]["dev"]["accuracy"]["value"]
    assert "| dev | 60 |" in capsys.readouterr().out
