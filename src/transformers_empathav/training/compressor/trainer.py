"""The trainer of the compressor."""

from ..part_trainer import PartTrainer
from ..sampler import LengthSampler
from .reconstruction import reconstruction_table, summary


class CompressorTrainer(PartTrainer):
    """
    `transformers.Trainer` for a [`Reconstruction`]: checkpoints hold the compressor alone.

    Evaluation gives the columns `none`, `other`, `own` and their difference, the memory's worth; a trained soft prompt
    joins them in `benchmarks/worth.py`.
    """

    part = "compressor"

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = [sum(len(message["content"]) for message in window) for window in dataset]
        return LengthSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps, lengths, self.args.seed
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        losses = model(**inputs)
        # Gradients are averaged over processes, and tokens counted over all of them.
        share = losses.numel() if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        loss = losses.sum() / share
        return (loss, {}) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        loader = self.get_eval_dataloader(eval_dataset)
        table = reconstruction_table(self._inner(), loader, self.accelerator.device)
        return self.report(summary(table), metric_key_prefix)
