"""The trainer of the extractor."""

import numpy as np
import torch
from torch import nn

from ...measures.recognition import emotion_metrics
from ...modeling.configuration_empathav import EmpathAVConfig
from ..part_trainer import PartTrainer
from .dataset import ClipSampler, EmotionDataset


class EmotionTrainer(PartTrainer):
    r"""
    `transformers.Trainer` for an [`EmotionTraining`]: checkpoints hold the extractor without its encoders.

    Args:
        class_weights (`bool`): Whether rare emotions weigh more, in inverse proportion to how often they occur.
        label_smoothing (`float`): Share of the target that is spread over all labels.
        warmup_epochs (`float`): Epochs before the language model is asked; see [`EmotionTraining.nearest`].
    """

    part = "extractor"

    def __init__(
        self, *args, class_weights: bool = True, label_smoothing: float = 0.0, warmup_epochs: float = 0.0, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.label_smoothing, self.warmup_epochs = label_smoothing, warmup_epochs
        self.weights = balanced_weights(self.train_dataset.targets, self._inner().config) if class_weights else None

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return ClipSampler(self.args.train_batch_size, dataset, self.args.seed)

    def get_decay_parameter_names(self, model) -> list[str]:
        """Matrices alone decay: not the anchor and the norm of the vectors, nor the shares of the layers."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if model.get_parameter(name).ndim > 1]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        training = self.accelerator.unwrap_model(self.model)
        training.through_language_model = (self.state.epoch or 0.0) >= self.warmup_epochs
        scores = model(**inputs)
        loss = self._loss(scores, inputs["labels"], num_items_in_batch)
        return (loss, {"scores": scores}) if return_outputs else loss

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        weights = None if self.weights is None else self.weights.to(scores.device)
        losses = nn.functional.cross_entropy(
            scores, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        # Gradients are averaged over processes, and rows counted over all of them.
        share = len(labels) if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        return losses.sum() / share

    @torch.no_grad()
    def scores(self, dataset: EmotionDataset) -> np.ndarray:
        """Probabilities `(rows, labels)` of each row, in the order of the dataset."""
        training = self.accelerator.unwrap_model(self.model)
        mode, through = training.training, training.through_language_model
        training.eval()
        training.through_language_model = True
        found = []
        for batch in self.get_eval_dataloader(dataset):
            batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
            found.append(self.accelerator.gather_for_metrics(training(**batch)).softmax(dim=-1).cpu())
        training.train(mode)
        training.through_language_model = through
        return torch.cat(found).numpy()

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        return self.report(emotion_metrics(np.array(dataset.targets), self.scores(dataset)), metric_key_prefix)


def balanced_weights(targets: list[int], config: EmpathAVConfig) -> torch.Tensor:
    """
    One weight a label, in inverse proportion to its count, with a mean of 1 over the rows.

    Raises:
        `ValueError`: a label never occurs, so it would never be learned.
    """
    counts = torch.bincount(torch.tensor(targets), minlength=len(config.emotion_labels)).float()
    if missing := [label for label, count in zip(config.emotion_labels, counts) if not count]:
        raise ValueError(
            f"No clip of the training side shows {', '.join(missing)}: add some, or train without class weights."
        )
    return counts.sum() / (len(counts) * counts)
