"""Regression and loss with shares of labels: references, and labels that do not compete."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from transformers_empathav.training.extractor.regression import cross_entropy, regression


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    targets = np.arange(90) % 3
    return rng.normal(size=(90, 6)).astype(np.float32) + 0.8 * np.eye(6, dtype=np.float32)[targets], targets


def shares(targets, labels=3):
    return torch.nn.functional.one_hot(torch.tensor(targets), labels).float()


def test_it_is_the_regression_of_sklearn(rows):
    inputs, targets = rows
    counts = np.linspace(0.2, 2.0, len(targets))
    wanted = LogisticRegression(C=0.3, max_iter=1000, tol=1e-8).fit(inputs, targets, sample_weight=counts)
    weights, bias = regression(torch.tensor(inputs), shares(targets), 0.3, torch.tensor(counts))
    assert weights.T.numpy() == pytest.approx(wanted.coef_, abs=2e-3)
    scores = torch.tensor(inputs) @ weights + bias
    assert scores.softmax(dim=1).numpy() == pytest.approx(wanted.predict_proba(inputs), abs=2e-3)


def test_a_row_with_two_answers_is_half_of_each(rows):
    inputs, targets = rows
    inputs, mixed = torch.tensor(inputs), (shares(targets) + shares((targets + 1) % 3)) / 2
    both = torch.cat([shares(targets), shares((targets + 1) % 3)])
    once, twice = regression(inputs, mixed, 0.3), regression(torch.cat([inputs, inputs]), both, 0.15)
    assert torch.allclose(once[0], twice[0], atol=2e-3)


def test_rows_do_not_teach_labels_that_do_not_compete(rows):
    """Rows of labels 0 and 1 that say nothing about 2, beside rows that do."""
    inputs, targets = rows
    competing = torch.ones(90, 3, dtype=torch.bool)
    silent = torch.tensor(targets != 2) & (torch.arange(90) < 60)
    competing[silent, 2] = False
    scores = torch.zeros(90, 3, requires_grad=True)
    cross_entropy(scores, shares(targets), competing).sum().backward()
    assert not scores.grad[silent, 2].any() and (scores.grad[~silent, 2] != 0).all()
    weights, bias = regression(torch.tensor(inputs), shares(targets), 0.3, competing=competing)
    plain = regression(torch.tensor(inputs), shares(targets), 0.3)
    assert bias[2] - bias.mean() > plain[1][2] - plain[1].mean() + 0.1 and torch.isfinite(weights).all()


def test_the_loss_is_that_of_torch(rows):
    targets, scores = torch.tensor(rows[1]), torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.5, 1.0, 2.0])
    wanted = torch.nn.functional.cross_entropy(scores, targets, weight=weights, label_smoothing=0.2, reduction="none")
    found = cross_entropy(scores, shares(rows[1]), smoothing=0.2, label_weights=weights)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_labels_that_do_not_compete_may_be_a_little_behind_instead(rows):
    targets, scores = shares(rows[1]), torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    competing = torch.ones(90, 3, dtype=torch.bool)
    competing[torch.tensor(rows[1]) != 2, 2] = False
    lowered = torch.where(competing, scores, scores - 2.0)
    assert torch.allclose(cross_entropy(scores, targets, competing, behind=2.0), cross_entropy(lowered, targets))
    assert torch.equal(cross_entropy(scores, targets, competing, behind=0.0), cross_entropy(scores, targets))
