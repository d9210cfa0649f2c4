"""Levels of empathy by the mechanisms of EPITOME."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from .bootstrap import Scores


class Epitome:
    r"""
    Diff-EPITOME (Lee et al., 2022): how far a reply's level of empathy is from that of the reference, by one
    classifier for each mechanism of EPITOME (Sharma et al., 2020). Less is better.

    Args:
        models (`dict[str, str]`): Directory or Hub id of an `AutoModelForSequenceClassification` over the levels
            none, weak and strong, in that order, for each mechanism: `emotional_reactions`, `interpretations`,
            `explorations`.

    Raises:
        `ValueError`: a classifier does not have three classes.
    """

    def __init__(self, models: dict[str, str], batch_size: int = 32):
        self.batch_size, self.parts = batch_size, {}
        for name, path in models.items():
            model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
            if model.config.num_labels != 3:
                raise ValueError(
                    f"{path} tells {model.config.num_labels} classes apart, and {name} has three levels: none, weak, "
                    "strong."
                )
            self.parts[name] = model, AutoTokenizer.from_pretrained(path)

    @torch.no_grad()
    def levels(self, name: str, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """The expected level, 0 to 2, of each reply to its prompt."""
        model, tokenizer = self.parts[name]
        found = []
        for start in range(0, len(replies), self.batch_size):
            some = slice(start, start + self.batch_size)
            batch = tokenizer(
                list(prompts[some]), list(replies[some]), padding=True, truncation=True, return_tensors="pt"
            )
            found.append(model(**batch).logits.softmax(dim=-1) @ torch.arange(3.0))
        return torch.cat(found).double().numpy()

    def __call__(
        self, prompts: Sequence[str], predictions: Sequence[str], references: Sequence[str]
    ) -> dict[str, Scores]:
        """`diff_NAME` of each mechanism."""
        return {
            f"diff_{name}": Scores.of_values(
                np.abs(self.levels(name, prompts, predictions) - self.levels(name, prompts, references))
            )
            for name in self.parts
        }
