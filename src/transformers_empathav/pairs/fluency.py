"""How fluent a text is to a causal language model."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..emotion.text_batches import in_batches


class Fluency:
    r"""
    Mean log-probability of the tokens of a text, each given those before it, without any context. The first token
    does not count.

    Args:
        model (`PreTrainedModel`): A causal language model, in evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer, with a padding token.
        batch_size (`int`, *optional*, defaults to 32): Texts at once.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32):
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Nats a token, `(texts,)`; 0 for a text of one token."""
        return in_batches(self._score, texts, self.batch_size, 1)[:, 0]

    def _score(self, texts: list[str]) -> torch.Tensor:
        inputs = self.tokenizer(
            texts, padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
        ).to(self.model.device)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        logits = self.model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        found = logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])[..., 0] * mask[:, 1:]
        return (found.sum(dim=1) / mask[:, 1:].sum(dim=1).clamp(min=1))[:, None].cpu()
