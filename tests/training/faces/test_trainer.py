import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import TrainingArguments

from trainers import SETTINGS
from transformers_empathav.data.faces import Faces
from transformers_empathav.modeling.configuration_empathav import FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder
from transformers_empathav.training.faces.trainer import AverageCallback, FaceDataset, FaceTrainer


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return FaceEncoder(FaceEncoderConfig(architecture="residual", image_size=8, stem_channels=4, module_channels=[8]))


@pytest.fixture
def faces():
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    return Faces(pixels, np.arange(12) % 7, [str(row) for row in range(12)])


def trainer(tower, faces, folder, **options):
    arguments = TrainingArguments(str(folder), **SETTINGS, max_steps=2)
    return FaceTrainer(model=tower, args=arguments, train_dataset=FaceDataset(faces), **options)


def batch(faces):
    rows = [FaceDataset(faces)[row] for row in range(len(faces))]
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


def test_the_loss_is_smoothed_in_training_and_plain_in_evaluation(tower, faces, tmp_path):
    inputs = batch(faces)
    run = trainer(tower, faces, tmp_path, label_smoothing=0.2, mixup_share=0.0)
    pixels = (2 * inputs["pixel_values"] - 1).expand(-1, 3, -1, -1)
    for training, smoothing in ((True, 0.2), (False, 0.0)):
        tower.train(training)
        log = tower(pixels).logits.log_softmax(-1)
        plain = -log[torch.arange(12), inputs["labels"]]
        expected = ((1 - smoothing) * plain - smoothing * log.mean(-1)).mean()
        assert run.compute_loss(tower, dict(inputs)).item() == pytest.approx(expected.item(), rel=1e-5)
    # a part of a batch of 24 counts as a half
    half = run.compute_loss(tower, dict(inputs), num_items_in_batch=torch.tensor(24)).item()
    assert half == pytest.approx(expected.item() / 2, rel=1e-5)


def test_mixed_faces_have_mixed_labels(tower, faces, tmp_path, monkeypatch):
    inputs = batch(faces)
    run = trainer(tower, faces, tmp_path, label_smoothing=0.0, mixup_share=1.0)
    order, share = torch.randperm(12), 0.3
    monkeypatch.setattr(torch, "randperm", lambda *args, **kwargs: order)
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(share))
    tower.train()
    pixels = (2 * inputs["pixel_values"] - 1).expand(-1, 3, -1, -1)
    logits = tower((1 - share) * pixels + share * pixels[order]).logits
    labels = inputs["labels"]
    expected = (1 - share) * F.cross_entropy(logits, labels) + share * F.cross_entropy(logits, labels[order])
    assert run.compute_loss(tower, dict(inputs)).item() == pytest.approx(expected.item(), rel=1e-4)


def test_weights_of_emotions_count(tower, faces, tmp_path):
    inputs, weights = batch(faces), torch.tensor([2.0, 1, 1, 1, 1, 1, 0])
    run = trainer(tower, faces, tmp_path, class_weights=weights)
    tower.eval()
    log = tower((2 * inputs["pixel_values"] - 1).expand(-1, 3, -1, -1)).logits.log_softmax(-1)
    labels = inputs["labels"]
    expected = (-weights[labels] * log[torch.arange(12), labels]).mean()
    assert run.compute_loss(tower, dict(inputs)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_average_follows_weights_and_counts(tower):
    averaging = AverageCallback(tower, decay=0.5)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    after = copy.deepcopy(tower)
    after.train()(torch.rand(3, 3, 8, 8))
    with torch.no_grad():
        for parameter in after.parameters():
            parameter += 1
    step = type("State", (), {"global_step": 100})
    averaging.on_step_end(None, step, None, model=after)
    for name, tensor in averaging.average.state_dict().items():
        expected = (before[name] + after.state_dict()[name]) / 2
        assert torch.allclose(tensor, expected) if tensor.is_floating_point() else tensor == 1
    assert not averaging.average.training and not any(p.requires_grad for p in averaging.average.parameters())


def test_evaluation_reads_the_average(tower, faces, tmp_path):
    run = trainer(tower, faces, tmp_path)
    found = run.evaluate(FaceDataset(faces))
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()
    again = run.evaluate(FaceDataset(faces))
    assert found["eval_loss"] == again["eval_loss"] and {"eval_uar", "eval_accuracy", "eval_ece"} <= set(found)
    assert tower.training is False or again["eval_loss"] != pytest.approx(np.log(7))
