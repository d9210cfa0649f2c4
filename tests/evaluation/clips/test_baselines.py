"""Baselines of the extractor: the regression by hand, what clips without sound or a face give, and other encoders."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from transformers_empathav.evaluation.clips.baselines import face_network, layer_statistics, logistic_regression
from transformers_empathav.training.clip_features import ClipFeatures


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    targets = np.array([0, 2] * 30)
    return targets, *(rng.normal(2.0, 5.0, size=(60, 5)) + targets[:, None] * 15 for _ in range(2))


def test_a_regression_knows_only_what_it_was_shown(sides):
    targets, train, test = sides
    scores = logistic_regression(train, targets, test, labels=3, strength=1.0)
    assert (scores.argmax(axis=1) == targets).mean() > 0.9 and not scores[:, 1].any()


def test_a_regression_reads_features_by_mean_and_spread_of_the_training_side(sides):
    targets, train, test = sides
    mean, spread = train.mean(axis=0), train.std(axis=0)
    model = LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced").fit((train - mean) / spread, targets)
    wanted = model.predict_proba((test - mean) / spread)
    assert logistic_regression(train, targets, test, labels=3)[:, [0, 2]] == pytest.approx(wanted, abs=1e-6)


def test_statistics_are_of_all_windows_of_a_clip():
    audio = torch.arange(24.0).view(2, 4, 3)
    windows = [ClipFeatures(audio[:, :1], None), ClipFeatures(audio[:, 1:], None)]
    heard, silent = layer_statistics([windows, [ClipFeatures(None, torch.zeros(1))]])
    assert heard[:, :3] == pytest.approx(audio.mean(dim=1).numpy())
    assert heard[:, 3:] == pytest.approx(audio.std(dim=1, correction=0).numpy()) and not silent.any()
    assert layer_statistics([[ClipFeatures(None, torch.zeros(1))]]) is None


def test_the_face_network_says_what_it_says_of_frames_and_nothing_without(model):
    tower = model.model.extractor.vision_tower
    features = torch.randn(1, 2, 16, tower.classifier.weight.shape[1])
    seen, unseen = face_network(model, [[ClipFeatures(None, features)], [ClipFeatures(None, None)]])
    with torch.no_grad():
        maps = features[-1].transpose(1, 2).unflatten(2, (4, 4))
        wanted = tower.classifier(maps).mean((2, 3)).softmax(dim=1).mean(dim=0)
    assert seen == pytest.approx(wanted.numpy(), abs=1e-6) and unseen == pytest.approx(np.full(7, 1 / 7))
    tower.config.id2label = {0: "cat", 1: "dog"}
    assert face_network(model, [[ClipFeatures(None, features)]]) is None


def test_without_frames_there_is_no_face_network(model):
    assert face_network(model, [[ClipFeatures(torch.zeros(1), None)]]) is None
