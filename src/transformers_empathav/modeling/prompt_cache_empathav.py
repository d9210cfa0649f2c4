"""PromptCache: the KV cache of system prompt and memory, kept from turn to turn of a conversation."""

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from .conversation_memory_empathav import ConversationMemory


class PromptCache:
    r"""
    The KV cache of `[system prompt][memory]` of one conversation. Pass the same object to each `generate`, as
    `prompt_cache`.

    A memory grows at its end, so the next turn computes only the new vectors and the verbatim messages. Token ids and
    vectors are compared each time. After another prompt, another memory or a merge only the common prefix is reused.

    The state of a recurrent layer cannot go back to an earlier token: for language models with such layers nothing is
    kept, and each turn is computed whole.
    """

    def __init__(self):
        self.input_ids: list[int] = []
        self.memory_token_id: int | None = None
        self.vectors: torch.Tensor | None = None
        self.cache: Cache | None = None

    def reuse(
        self, input_ids: torch.LongTensor, memory: ConversationMemory | None, options: dict, config: PreTrainedConfig
    ) -> Cache:
        """
        Crops the cache to the prefix that it shares with a new prompt. Called by `generate` before decoding.

        Args:
            input_ids (`torch.LongTensor` of shape `(1, length)`): The new prompt.
            memory ([`ConversationMemory`], *optional*): Its memory.
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
        self._cut(self._common(input_ids[0].tolist()[:-1], memory))
        if self.cache is None:
            self.cache = new_cache(config)
        return self.cache

    def keep(self, input_ids: torch.LongTensor, memory: ConversationMemory | None, memory_token_id: int):
        """
        Crops the cache to the end of the memory: what follows differs in the next turn. Called by `generate` after
        decoding.
        """
        ids = input_ids[0].tolist()
        end = len(ids) - ids[::-1].index(memory_token_id) if memory_token_id in ids else 0
        self.input_ids, self.memory_token_id = ids, memory_token_id
        self.vectors = None if memory is None else memory.flat()
        self._cut(end)

    def _common(self, ids: list[int], memory: ConversationMemory | None) -> int:
        """Length of the prefix that the cached prompt and a new one have in common."""
        if not self.input_ids:
            return 0
        vectors, seen = None if memory is None else memory.flat(), 0
        for index, (old, new) in enumerate(zip(self.input_ids, ids)):
            if old != new:
                return index
            if old == self.memory_token_id:
                if vectors is None or not torch.equal(self.vectors[seen], vectors[seen]):
                    return index
                seen += 1
        return min(len(self.input_ids), len(ids))

    def _cut(self, length: int):
        """Crops cache and ids to the first `length` tokens, or forgets both where the cache cannot go back."""
        self.input_ids = self.input_ids[:length]  # in step with the cache, in case `generate` is interrupted
        if self.cache is None or (surplus := self.cache.get_seq_length() - length) <= 0:
            return
        try:
            if self.cache.is_croppable:
                self.cache.crop(-surplus)
                return
        except RuntimeError:  # a layer has not kept what it would go back to
            pass
        self.input_ids, self.cache = [], None


def new_cache(config: PreTrainedConfig) -> Cache:
    """
    An empty KV cache for a language model. Layers with a sliding window get one that keeps all: theirs forgets what
    lies outside of the window, and could not be cropped.
    """
    cache = DynamicCache(config=config)
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
    return DynamicCache() if plain else cache
