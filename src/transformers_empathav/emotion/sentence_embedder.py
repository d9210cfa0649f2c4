"""Sentence embeddings of texts."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from ..checkpoint.loading import default_device
from ..checkpoint.minilm import fetch_minilm
from ..checkpoint.parts import load_whole
from .text_batches import in_batches, read


class SentenceEmbedder:
    r"""
    Embeds texts as unit vectors: the mean of an encoder's last hidden states over the tokens of a text
    (Sentence-BERT, arXiv 1908.10084).

    Args:
        encoder (`str` or `os.PathLike`, *optional*):
            Directory or Hub id of an encoder that was trained with such a mean; all-MiniLM-L6-v2 by default.
        device (`str`, *optional*): CUDA where there is one by default.
        batch_size (`int`, *optional*, defaults to 64): Texts at once.
    """

    def __init__(self, encoder: str | os.PathLike | None = None, device: str | None = None, batch_size: int = 64):
        encoder = fetch_minilm() if encoder is None else encoder
        self.batch_size = batch_size
        self.model = load_whole(AutoModel, encoder).to(default_device(device))
        self.tokenizer = AutoTokenizer.from_pretrained(encoder)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors `(texts, width)` of length 1."""
        return in_batches(self._embed, texts, self.batch_size, self.model.config.hidden_size)

    def _embed(self, texts: list[str]) -> torch.Tensor:
        inputs = read(self.tokenizer, texts, self.model.device)
        hidden = self.model(**inputs).last_hidden_state.double()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=-1).cpu()
