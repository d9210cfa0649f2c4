"""The loss of an update: dealt to batches and processes, or as one big batch, its gradient is the same."""

from types import SimpleNamespace

import pytest
import torch

from transformers_empathav.training.loss_scale import mean_over_update


def trainer(processes=1, across=True):
    """As much of a trainer as the scale depends on."""
    return SimpleNamespace(
        accelerator=SimpleNamespace(num_processes=processes),
        args=SimpleNamespace(average_tokens_across_devices=across),
    )


def gradient(losses_of, rows):
    weight = torch.tensor([0.5, -1.0], requires_grad=True)
    losses_of((rows @ weight).square()).backward()
    return weight.grad


@pytest.fixture
def rows():
    return torch.randn(12, 2, generator=torch.Generator().manual_seed(0))


def test_accumulated_batches_and_processes_are_one_big_batch(rows):
    """Two processes with two accumulated batches each, all of different sizes: sums over batches, means over both."""
    wanted = gradient(lambda losses: losses.mean(), rows)
    batches = rows.split([1, 5, 2, 4])
    parts = [gradient(lambda losses: mean_over_update(trainer(2), losses, torch.tensor(12)), part) for part in batches]
    first, second = parts[0] + parts[1], parts[2] + parts[3]
    assert torch.allclose((first + second) / 2, wanted, atol=1e-6)
    assert not torch.allclose(torch.stack([gradient(lambda x: x.mean(), part) for part in batches]).mean(0), wanted)


def test_items_that_are_counted_by_each_process_alone_are_means_of_each(rows):
    """Without `average_tokens_across_devices` a process divides by its own items."""
    parts = [
        gradient(lambda losses: mean_over_update(trainer(2, across=False), losses, 6), part) for part in rows.split(6)
    ]
    assert torch.allclose(sum(parts) / 2, gradient(lambda losses: losses.mean(), rows), atol=1e-6)


def test_without_a_count_it_is_the_mean_of_the_batch(rows):
    losses = rows.square().sum(dim=1)
    assert torch.equal(mean_over_update(trainer(4), losses), losses.sum() / 12)
