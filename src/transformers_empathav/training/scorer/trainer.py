"""The trainer of the text emotion classifier."""

import torch
from torch import nn

from ..loss_scale import mean_over_update
from ..watched_trainer import WatchedTrainer


class ScorerTrainer(WatchedTrainer):
    r"""
    A [`WatchedTrainer`] for a classifier, with a weighted cross-entropy.

    Args:
        class_weights (`torch.Tensor` of shape `(7,)`, *optional*):
            How much a text of each emotion counts, of [`balanced_weights`]; all the same by default.
        args, kwargs: As in `transformers.Trainer`.
    """

    def __init__(self, *args, class_weights: torch.Tensor | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.class_weights = class_weights

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # `Trainer` takes the model's own loss, which knows no weights.
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weights = None if self.class_weights is None else self.class_weights.to(outputs.logits)
        losses = nn.functional.cross_entropy(outputs.logits, labels, weight=weights, reduction="none")
        loss = mean_over_update(self, losses, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss
