"""BERTScore over any encoder."""

import os
from collections.abc import Sequence

import torch
from transformers import AutoModel, AutoTokenizer

from .bootstrap import Scores


def greedy_match(candidate: torch.Tensor, reference: torch.Tensor) -> tuple[float, float, float]:
    """
    Precision, recall and F1 of two sets of token vectors `(tokens, dimensions)`: each token of one side has the cosine
    of its nearest of the other (Zhang et al., 2020). All are 0 where a side is empty.
    """
    if not len(candidate) or not len(reference):
        return 0.0, 0.0, 0.0
    first, second = (torch.nn.functional.normalize(side.double(), dim=-1) for side in (candidate, reference))
    similarity = first @ second.T
    precision, recall = float(similarity.amax(dim=1).mean()), float(similarity.amax(dim=0).mean())
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class BertScore:
    r"""
    BERTScore (Zhang et al., 2020), tokens unweighted and figures not rescaled, so they compare with one another only.

    Args:
        model (`str` or `os.PathLike`): Directory or Hub id of an encoder of `AutoModel`.
        layer (`int`, *optional*): Whose hidden states are matched, -1 for the last.
        batch_size (`int`, *optional*): Texts at once.
    """

    def __init__(self, model: str | os.PathLike, layer: int = -1, batch_size: int = 32):
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
        self.layer, self.batch_size = layer, batch_size

    @torch.no_grad()
    def token_vectors(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Hidden states of the tokens of each text `(tokens, hidden)`, those of special tokens left out."""
        vectors = []
        for start in range(0, len(texts), self.batch_size):
            batch = self.tokenizer(
                list(texts[start : start + self.batch_size]),
                padding=True,
                truncation=True,
                return_special_tokens_mask=True,
                return_tensors="pt",
            )
            words = batch.pop("special_tokens_mask") == 0
            hidden = self.model(**batch, output_hidden_states=True).hidden_states[self.layer]
            vectors += [row[kept] for row, kept in zip(hidden, words & batch["attention_mask"].bool())]
        return vectors

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Scores]:
        """`bertscore_precision`, `bertscore_recall` and `bertscore_f1`."""
        pairs = zip(self.token_vectors(predictions), self.token_vectors(references), strict=True)
        columns = zip(*[greedy_match(*pair) for pair in pairs])
        return {
            f"bertscore_{name}": Scores.of_values(values)
            for name, values in zip(("precision", "recall", "f1"), columns)
        }
