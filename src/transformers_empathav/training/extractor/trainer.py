"""The trainer of the extractor."""

import logging

import numpy as np
import torch

from ...measures.recognition import emotion_metrics
from ..class_weights import balanced_weights
from ..loss_scale import mean_over_update
from ..part_trainer import PartTrainer
from .dataset import BalancedSampler, ClipSampler, EmotionDataset
from .regression import cross_entropy


logger = logging.getLogger(__name__)


class EmotionTrainer(PartTrainer):
    r"""
    `transformers.Trainer` for an [`EmotionTraining`]. Its checkpoints hold the extractor without its encoders.

    Args:
        class_weights (`bool`, *optional*, defaults to `True`):
            Whether rare emotions weigh more, in inverse proportion to how often they occur.
        label_smoothing (`float`, *optional*, defaults to 0.0): Share of the target that is spread over all labels.
        warmup_epochs (`float`, *optional*, defaults to 0.0):
            Epochs before the language model is asked; until then [`EmotionTraining.word_scores`] are trained.
        balance (`float`, *optional*):
            Draws clips so that corpora, emotions and speakers come alike; see [`balanced_shares`] for the number.
        absent_behind (`float`, *optional*, defaults to infinity):
            How far behind, in log-odds, labels are that a clip's corpus does not have; see [`cross_entropy`].
        args, kwargs: As in `transformers.Trainer`; the datasets are [`EmotionDataset`].

    A log line names emotions that no clip of the training side shows: they will not be recognised.
    """

    part = "extractor"

    def __init__(
        self,
        *args,
        class_weights: bool = True,
        label_smoothing: float = 0.0,
        warmup_epochs: float = 0.0,
        balance: float | None = None,
        absent_behind: float = torch.inf,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.label_smoothing, self.warmup_epochs, self.balance = label_smoothing, warmup_epochs, balance
        self.absent_behind = absent_behind
        labels = self._inner().config.emotion_labels
        targets = self.train_dataset.targets
        if missing := [label for index, label in enumerate(labels) if index not in targets]:
            logger.warning(f"No clip of the training side shows {', '.join(missing)}: that will not be recognised.")
        self.weights = balanced_weights(targets, labels) if class_weights else None

    def _get_train_sampler(self, train_dataset=None):
        # `Trainer` calls `set_epoch` of the sampler at the beginning of each epoch. This one tells the dataset, which
        # then gives another copy of each clip; with another sampler it would give the same one in every epoch.
        dataset = self.train_dataset if train_dataset is None else train_dataset
        given = self.args.train_batch_size, dataset, self.args.seed
        return ClipSampler(*given) if self.balance is None else BalancedSampler(*given, self.balance)

    def get_decay_parameter_names(self, model) -> list[str]:
        """Names of the weights that decay: matrices, not the anchor and the scale of vectors or shares of layers."""
        # `Trainer` leaves out biases and layer norms, which are modules; the others are bare parameters.
        names = super().get_decay_parameter_names(model)
        return [name for name in names if model.get_parameter(name).ndim > 1]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # `Trainer` would take the first output for the loss; here the model gives scores.
        training = self.accelerator.unwrap_model(self.model)
        training.through_language_model = (self.state.epoch or 0.0) >= self.warmup_epochs
        scores = model(**inputs)
        weights = None if self.weights is None else self.weights.to(scores.device)
        losses = cross_entropy(
            scores, inputs["targets"], inputs["competing"], self.label_smoothing, weights, self.absent_behind
        )
        loss = mean_over_update(self, losses, num_items_in_batch)
        return (loss, {"scores": scores}) if return_outputs else loss

    @torch.no_grad()
    def scores(self, dataset: EmotionDataset) -> np.ndarray:
        """Probabilities `(rows, labels)` by the language model, in the order of the dataset."""
        training = self.accelerator.unwrap_model(self.model)
        mode, through = training.training, training.through_language_model
        training.eval()
        training.through_language_model = True
        found = []
        for batch in self.get_eval_dataloader(dataset):
            batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
            found.append(training.probabilities(self.accelerator.gather_for_metrics(training(**batch))).cpu())
        training.train(mode)
        training.through_language_model = through
        return torch.cat(found).numpy()

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        # `Trainer.evaluate` knows the mean loss alone.
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        return self.report(emotion_metrics(np.array(dataset.targets), self.scores(dataset)), metric_key_prefix)
