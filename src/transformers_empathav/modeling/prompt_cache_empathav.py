"""Keys and values of a conversation's unchanging beginning, kept from turn to turn."""

import torch
from transformers import DynamicCache

from .conversation_memory_empathav import ConversationMemory


class PromptCache:
    r"""
    What the language model has computed for `[system prompt][memory]` of one conversation.

    A memory only ever grows at its end, so the next turn finds its beginning unchanged and computes the new vectors
    and the verbatim messages alone. Whether it is unchanged is checked, token by token and vector by vector: with
    another prompt or another conversation's memory the common part is kept and the rest computed anew. Pass the same
    object to each `generate(..., prompt_cache=cache)`.
    """

    def __init__(self):
        self.input_ids: list[int] = []
        self.memory_token_id: int | None = None
        self.vectors: torch.Tensor | None = None
        self.cache = DynamicCache()

    def reuse(self, input_ids: torch.LongTensor, memory: ConversationMemory | None, options: dict) -> DynamicCache:
        """
        The cache, cut to what it has in common with a prompt `(1, length)` and its memory.

        Raises:
            `ValueError`: more than one conversation, or a decoding that reorders the cache.
        """
        config = options["generation_config"]
        several = [options.get(name) or getattr(config, name) or 1 for name in ("num_beams", "num_return_sequences")]
        if len(input_ids) > 1 or max(several) > 1:
            raise ValueError(
                "A PromptCache belongs to one conversation decoded once: use it with one row and without beams."
            )
        if options.get("past_key_values") is not None:
            raise ValueError("Give past_key_values or prompt_cache, not both.")
        common = self._common(input_ids[0].tolist()[:-1], memory)
        self.input_ids = self.input_ids[:common]  # an interrupted `generate` must find what the cache really holds
        self._cut(common)
        return self.cache

    def keep(self, input_ids: torch.LongTensor, memory: ConversationMemory | None, memory_token_id: int):
        """After `generate`: forgets what stands behind the memory, which the next turn will say differently."""
        ids = input_ids[0].tolist()
        end = len(ids) - ids[::-1].index(memory_token_id) if memory_token_id in ids else 0
        self.input_ids, self.memory_token_id = ids[:end], memory_token_id
        self.vectors = None if memory is None else memory.flat()
        self._cut(end)

    def _common(self, ids: list[int], memory: ConversationMemory | None) -> int:
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
        if (surplus := self.cache.get_seq_length() - length) > 0:
            self.cache.crop(-surplus)
