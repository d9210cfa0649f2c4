"""A layer with room behind its keys holds what the growing layer of transformers holds, whatever happens to it."""

from copy import copy

import pytest
import torch
from transformers.cache_utils import DynamicLayer

from transformers_empathav.modeling.roomy_layer_empathav import RoomyLayer


def states(tokens, seed):
    torch.manual_seed(seed)
    return torch.randn(1, 2, tokens, 4), torch.randn(1, 2, tokens, 4)


@pytest.fixture
def layers():
    """Both kinds after a prompt of five tokens and three single ones."""
    both = RoomyLayer(), DynamicLayer()
    for layer in both:
        for seed, tokens in enumerate((5, 1, 1, 1)):
            layer.update(*states(tokens, seed))
    return both


def same(roomy, plain):
    return torch.equal(roomy.keys, plain.keys) and torch.equal(roomy.values, plain.values)


def test_it_holds_what_a_growing_layer_holds(layers):
    roomy, plain = layers
    assert same(roomy, plain) and roomy.get_seq_length() == 8
    for seed in range(2 * RoomyLayer.room):
        assert all(map(torch.equal, roomy.update(*states(1, seed)), plain.update(*states(1, seed))))
    assert same(roomy, plain)


def test_new_tokens_move_nothing_until_the_room_is_full(layers):
    roomy, _ = layers
    start = roomy.keys.data_ptr()
    roomy.update(*states(RoomyLayer.room - 3, 9))
    assert roomy.keys.data_ptr() == start
    roomy.update(*states(1, 9))
    assert roomy.keys.data_ptr() != start


def test_it_can_be_cropped_and_replaced(layers):
    roomy, plain = layers
    for layer in layers:
        layer.crop(-4)
        layer.update(*states(2, 7))
    assert same(roomy, plain)
    for layer in layers:  # as a batch does that a row leaves
        layer.keys, layer.values = (part.clone() for part in states(3, 8))
        layer.update(*states(1, 9))
    assert same(roomy, plain)
    for layer in layers:
        layer.batch_repeat_interleave(3)
        layer.update(*(part.repeat(3, 1, 1, 1) for part in states(1, 10)))
    assert same(roomy, plain)
    for layer in layers:
        layer.crop(-5)
        layer.reset()
        layer.update(*states(2, 11))
    assert same(roomy, plain)


def test_without_its_room_it_writes_into_nothing_that_is_shared(layers):
    roomy, plain = layers
    roomy.leave_room()
    other = copy(roomy)
    other.update(*states(1, 20))
    roomy.update(*states(1, 21))
    plain.update(*states(1, 21))
    assert same(roomy, plain) and not torch.equal(other.keys[:, :, -1], roomy.keys[:, :, -1])
    assert torch.equal(other.keys[:, :, :8], roomy.keys[:, :, :8])
