import pytest
import torch

from transformers_empathav.modeling.layers_empathav import FARTHEST, LayerMix, LayerStatistics, statistics


@pytest.fixture
def layers():
    """Three clips, two layers, five tokens."""
    return torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.fixture
def mask():
    return torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


def test_a_fitted_mix_is_the_shares_of_standardised_layers(layers):
    mix = LayerMix(2, 4)
    mean, spread = layers.mean(dim=(0, 2)), layers.std(dim=(0, 2))
    mix.fit(mean, spread)
    mix.logits.data = torch.tensor([0.0, 1.0])

    standardised = (layers - mean[None, :, None]) / spread[None, :, None]
    first, second = torch.tensor([0.0, 1.0]).softmax(0)
    assert torch.allclose(mix(layers), first * standardised[:, 0] + second * standardised[:, 1], atol=1e-5)


def test_statistics_are_those_of_the_shown_tokens(layers, mask):
    found = statistics(layers, mask)

    assert torch.allclose(found[0, :, 0], layers[0].mean(dim=1), atol=1e-6)
    assert torch.allclose(found[0, :, 1], layers[0].std(dim=1, correction=0), atol=1e-6)
    assert torch.allclose(found[1, :, 1], layers[1, :, :2].std(dim=1, correction=0), atol=1e-6)
    assert found[2].abs().max() < 1e-5  # nothing is shown


def test_what_is_hidden_does_not_count(layers, mask):
    module = awake()
    other = torch.where(mask[:, None, :, None], layers, 1e4)

    assert module(layers, mask).shape == (3, 6)
    assert torch.equal(module(layers, mask), module(other, mask))


def test_statistics_are_standardised_and_projected_together(layers, mask):
    module = awake()
    mean, spread = statistics(layers, mask).mean(dim=0), statistics(layers, mask).std(dim=0)
    module.fit(mean, spread, gain=3.0)

    expected = ((statistics(layers, mask) - mean) / spread).flatten(1) @ module.weight.flatten(0, 2) * 3 / 16**0.5
    assert torch.allclose(module(layers, mask), expected, atol=1e-4)


def test_what_is_unlike_all_of_training_says_less(layers, mask):
    module = LayerStatistics(2, 4, 6)
    module.fit(torch.zeros(2, 2, 4), torch.ones(2, 2, 4), gain=3.0)
    near = torch.tensor([-1.0, 1.5, 1.0, -1.9]).expand(1, 2, 2, 4)
    assert torch.allclose(module.scaled(near), 3 * near)
    far = torch.tensor([-2.0, 2.0, 2.0, -2.0]).expand(1, 2, 2, 4) * FARTHEST
    assert torch.allclose(module.scaled(far), 3 * far / 16)
    assert module.scaled(100 * far).abs().max() < 1e-3
    one_alone = torch.zeros(1, 2, 2, 4)
    one_alone[0, 0, 0, 0] = 3 * FARTHEST
    assert torch.equal(module.scaled(one_alone), 3 * one_alone)  # the clip as a whole counts


def test_before_training_statistics_say_nothing(layers, mask):
    assert not LayerStatistics(2, 4, 6)(layers, mask).any()


def awake():
    module = LayerStatistics(2, 4, 6)
    module.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    return module


def test_dropout_hides_a_channel_all_along_the_clip_and_in_training_alone(layers):
    mix = LayerMix(1, 4)
    mix.dropout.p = 0.5
    torch.manual_seed(0)

    seen = mix(layers[:, :1]) / layers[:, 0]
    hidden = seen == 0
    assert (hidden == hidden[:, :1]).all() and 0 < hidden[:, 0].sum() < hidden[:, 0].numel()
    assert torch.allclose(seen[~hidden], torch.tensor(2.0))
    assert torch.allclose(mix.eval()(layers[:, :1]), layers[:, 0])


def test_a_constant_stream_has_a_gradient():
    layers = torch.ones(1, 2, 5, 4, requires_grad=True)
    statistics(layers, torch.ones(1, 5, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(layers.grad).all()
    nothing = torch.zeros(1, 2, 2, 4, requires_grad=True)
    LayerStatistics(2, 4, 6).scaled(nothing).sum().backward()
    assert torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize("limit", [float("inf"), torch.finfo(torch.float32).max, 0.5])
def test_gradients_are_numbers_with_any_limit(limit):
    """Adapters that also match the encoders send gradients through statistics that were never fitted."""
    path = LayerStatistics(2, 3, 4)
    path.limit.fill_(limit)
    torch.nn.init.normal_(path.weight)
    layers = torch.randn(2, 2, 5, 3, requires_grad=True)
    path(layers, torch.ones(2, 5, dtype=torch.bool)).sum().backward()
    assert layers.grad.isfinite().all() and layers.grad.abs().sum() > 0


def test_before_it_is_fitted_statistics_are_not_scaled_down():
    path = LayerStatistics(2, 3, 4)
    found = torch.randn(5, 2, 2, 3) * 1e3
    assert torch.equal(path.scaled(found), found)
    path.limit.fill_(float("inf"))  # as older checkpoints hold it
    assert torch.equal(path.scaled(found), found)
