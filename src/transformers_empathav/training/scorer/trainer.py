"""The trainer of the text emotion classifier."""

import torch
from torch import nn
from transformers import Trainer

from ...modeling.configuration_empathav import EMOTION_LABELS


class ScorerTrainer(Trainer):
    r"""
    `transformers.Trainer` with a weighted cross-entropy.

    Args:
        class_weights (`torch.Tensor` of shape `(7,)`, *optional*): What a text of each emotion counts.
    """

    def __init__(self, *args, class_weights: torch.Tensor | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.class_weights = class_weights

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weights = None if self.class_weights is None else self.class_weights.to(outputs.logits)
        losses = nn.functional.cross_entropy(outputs.logits, labels, weight=weights, reduction="none")
        # Gradients are averaged over processes, and texts counted over all of them.
        share = len(labels) if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        loss = losses.sum() / share
        return (loss, outputs) if return_outputs else loss


def balanced_weights(labels: list[int]) -> torch.Tensor:
    """One weight an emotion, in inverse proportion to its count, with a mean of 1 over the texts; 0 where none is."""
    counts = torch.bincount(torch.tensor(labels), minlength=len(EMOTION_LABELS)).float()
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), 0)
