"""A layer of a KV cache that grows without copying what it holds."""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer, with room behind them, where new ones are written: the rest is not copied."""

    room = 64  # tokens

    @classmethod
    def of(cls, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], length: int) -> "RoomyLayer":
        """A batch of rows, each `(1, heads, tokens, width)`, padded on the left to `length` tokens."""
        layer = cls()
        layer.lazy_initialization(keys[0], values[0])
        layer.places = roomy(keys, length, cls.room), roomy(values, length, cls.room)
        layer.keys, layer.values = (place[:, :, : -cls.room] for place in layer.places)
        return layer

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        start, length = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if length > self.places[0].shape[2]:
            self.places = tuple(pad(part, (0, 0, 0, self.room)) for part in (self.keys, self.values))
        for place, new in zip(self.places, (key_states, value_states)):
            place[:, :, start:length] = new
        self.keys, self.values = (place[:, :, :length] for place in self.places)
        return self.keys, self.values


def roomy(parts: Sequence[torch.Tensor], length: int, room: int) -> torch.Tensor:
    """Rows of different length as one tensor, padded on the left, with room for more tokens on the right."""
    whole = parts[0].new_zeros(len(parts), parts[0].shape[1], length + room, parts[0].shape[3])
    for row, part in enumerate(parts):
        whole[row, :, length - part.shape[2] : length] = part[0]
    return whole
