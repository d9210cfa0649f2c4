"""A layer of a KV cache that grows without copying what it holds."""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    r"""
    Keys and values of one layer, with room behind them, where new ones are written: the rest is not copied. It is
    transformers' `DynamicLayer` in all else, and `keys` and `values` may be replaced or cropped as there.

    Two layers that hold the same tensors would write into the same room: see [`RoomyLayer.leave_room`].
    """

    room = 64  # tokens
    places = None  # keys and values with the room behind them

    @classmethod
    def of(cls, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], length: int) -> "RoomyLayer":
        """A batch of rows, each `(1, heads, tokens, width)`, padded on the left to `length` tokens."""
        layer = cls()
        layer.lazy_initialization(keys[0], values[0])
        layer.places = roomy(keys, length, cls.room), roomy(values, length, cls.room)
        layer.keys, layer.values = (place[:, :, : -cls.room] for place in layer.places)
        return layer

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        length = start + key_states.shape[2]
        if not self._fits(length):
            held = (self.keys, self.values) if start else (key_states[:, :, :0], value_states[:, :, :0])
            self.places = tuple(pad(part, (0, 0, 0, length - start + self.room)) for part in held)
        for place, new in zip(self.places, (key_states, value_states)):
            place.narrow(2, start, length - start).copy_(new)
        self.keys, self.values = (place.narrow(2, 0, length) for place in self.places)
        return self.keys, self.values

    def leave_room(self):
        """Gives up the room: what is held may be shared from now on, and the next token moves this layer's own."""
        self.places = None

    def _fits(self, length: int) -> bool:
        """Whether there is room for `length` tokens behind the keys that are held now."""
        return (
            self.places is not None
            and self.keys.data_ptr() == self.places[0].data_ptr()  # else somebody replaced them
            and self.keys.shape[:2] == self.places[0].shape[:2]
            and length <= self.places[0].shape[2]
        )


def roomy(parts: Sequence[torch.Tensor], length: int, room: int) -> torch.Tensor:
    """Rows of different length as one tensor, padded on the left, with room for more tokens on the right."""
    whole = parts[0].new_zeros(len(parts), parts[0].shape[1], length + room, parts[0].shape[3])
    for row, part in enumerate(parts):
        whole[row, :, length - part.shape[2] : length] = part[0]
    return whole
