"""PromptCache: the KV cache of a conversation, kept from turn to turn."""

from collections.abc import Iterator
from copy import copy

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from .roomy_layer_empathav import RoomyLayer


class PromptCache:
    r"""
    The KV cache of all that one conversation has read and written. Pass the same object to each `generate`, as
    `prompt_cache`.

    Token ids are compared each time, and the vectors that stand in their place: the longest beginning that the new
    prompt shares with the last one is reused. A conversation grows at its end, so an ordinary turn computes what is
    new. After another prompt, another memory or an interruption less is reused, never something wrong.

    The state of a recurrent layer cannot go back to an earlier token: for language models with such layers nothing is
    kept, and each turn is computed whole.
    """

    def __init__(self):
        self.input_ids = torch.zeros(0, dtype=torch.long)
        self.vectors: dict[int, torch.Tensor] = {}
        self.cache: Cache | None = None
        self.reused = 0  # tokens of the last prompt that were not computed again

    def reuse(
        self,
        input_ids: torch.LongTensor,
        vectors: dict[int, torch.Tensor | None],
        options: dict,
        config: PreTrainedConfig,
    ) -> Cache:
        """
        Crops the cache to the beginning that it shares with a new prompt. Called by `generate` before decoding.

        Args:
            input_ids (`torch.LongTensor` of shape `(1, length)`): The new prompt.
            vectors (`dict[int, torch.Tensor]`):
                For each placeholder's id the vectors `(..., hidden)` that take its places, in order; `None` for none.
            options (`dict`): Arguments of `generate`, with `generation_config`.
            config (`PreTrainedConfig`): Of the language model.

        Returns:
            `Cache`: the cropped cache, or a new one.

        Raises:
            `ValueError`: If there are several rows, beams or returned sequences, or a KV cache is given too.
        """
        usual = options["generation_config"]
        several = [options.get(name) or getattr(usual, name) or 1 for name in ("num_beams", "num_return_sequences")]
        if len(input_ids) > 1 or max(several) > 1:
            raise ValueError(
                "A PromptCache is for one sequence of one conversation: use it with one row, one returned sequence "
                "and without beams."
            )
        if options.get("past_key_values") is not None or options.get("cache") is not None:
            raise ValueError("Give a KV cache or prompt_cache, not both.")
        given = {token: flat(embeds) for token, embeds in vectors.items() if embeds is not None}
        self._cut(self._common(input_ids[0, :-1], given))  # the last token is always read: its logits are wanted
        self.vectors, self.reused = given, len(self.input_ids)
        if self.cache is None:
            self.cache = new_cache(config)
        return self.cache

    def keep(self, sequence: torch.LongTensor):
        """
        Notes what the cache holds now. Called by `generate` after decoding.

        Args:
            sequence (`torch.LongTensor` of shape `(length,)`): Prompt and reply; the last token was not read.
        """
        self.input_ids = sequence[: self.cache.get_seq_length()].clone()
        self._cut(len(self.input_ids))

    def shorten(self, length: int):
        """Gives up what is held after so many tokens, where the rest of a prompt must be read though it is known."""
        if len(self.input_ids) > length:
            self._cut(length)

    def keep_while(self, sequences: Iterator[torch.LongTensor]) -> Iterator[torch.LongTensor]:
        """
        Passes on what a `custom_generate` that is an iterator yields: prompt and reply `(1, length)`, one token longer
        each time. Notes what the cache holds wherever the reader stops.
        """
        try:
            for sequence in sequences:
                yield sequence
        except GeneratorExit:  # between two tokens
            self.keep(sequence[0])
            raise
        except BaseException:
            self.forget()
            raise
        self.keep(sequence[0])

    def forget(self):
        """Gives up what is held. After an error within a pass some layers may have read more than others."""
        self.input_ids, self.cache = self.input_ids[:0], None

    def fork(self) -> "PromptCache":
        """A cache that goes on by itself. What both hold is shared, and neither writes into it."""
        other = copy(self)
        if self.cache is not None:
            for layer in self.cache.layers:
                if isinstance(layer, RoomyLayer):
                    layer.leave_room()
            other.cache = copy(self.cache)
            other.cache.layers = [copy(layer) for layer in self.cache.layers]
        return other

    @property
    def nbytes(self) -> int:
        """Size of keys and values in bytes."""
        layers = [] if self.cache is None else [layer for layer in self.cache.layers if layer.is_initialized]
        return sum(part.numel() * part.element_size() for layer in layers for part in (layer.keys, layer.values))

    def _common(self, ids: torch.LongTensor, vectors: dict[int, torch.Tensor]) -> int:
        """Length of the beginning that the prompt in the cache and a new one have in common."""
        length = min(len(self.input_ids), len(ids))
        old = self.input_ids[:length].to(ids.device)
        same = old == ids[:length]
        for token, held in self.vectors.items():
            places = (old == token).nonzero()[:, 0]
            new = vectors.get(token, held[:0])
            count = min(len(places), len(held), len(new))
            same[places[count:]] = False
            same[places[:count]] &= (held[:count] == new[:count].to(held)).all(dim=-1).to(same.device)
        return length if same.all() else int(same.int().argmin())

    def _cut(self, length: int):
        """Crops cache and ids to the first `length` tokens, or forgets both where the cache cannot go back."""
        self.input_ids = self.input_ids[:length].clone()  # in step with the cache, in case `generate` is interrupted
        if self.cache is None:
            return
        try:
            if self.cache.is_croppable:
                if (surplus := self.cache.get_seq_length() - length) > 0:
                    self.cache.crop(-surplus)
                return
        except RuntimeError:  # a layer has not kept what it would go back to
            pass
        self.forget()


def flat(embeds: torch.Tensor) -> torch.Tensor:
    return embeds.flatten(0, -2)


def new_cache(config: PreTrainedConfig) -> Cache:
    """
    An empty KV cache for a language model. Layers with a sliding window get one that keeps all: theirs forgets what
    lies outside of the window, and could not be cropped.
    """
    cache = DynamicCache(config=config)
    if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        cache = DynamicCache()
        cache.layer_class_to_replicate = RoomyLayer
    return cache
