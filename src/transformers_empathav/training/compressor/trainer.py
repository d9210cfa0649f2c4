"""The trainer of the compressor."""

from ..loss_scale import mean_over_update
from ..part_trainer import PartTrainer
from ..sampler import LengthSampler
from .reconstruction import reconstruction_table, summary


class CompressorTrainer(PartTrainer):
    """
    `transformers.Trainer` for a [`Spelling`] or a [`Reconstruction`]. Its checkpoints hold the compressor alone.

    Evaluation logs the loss without memory (`none`), with another row's memory (`other`) and with the row's own
    (`own`), and the `worth` of the memory. A trained soft prompt joins them in `benchmarks/worth.py`.
    """

    part = "compressor"

    def _get_train_sampler(self, train_dataset=None):
        # `Trainer` shuffles without regard to length, which doubles the padding.
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = [sum(len(message["content"]) for message in window) for window in dataset]
        return LengthSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps, lengths, self.args.seed
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # `Trainer` would take the first output for the loss: here the model gives one loss a token.
        loss = mean_over_update(self, model(**inputs), num_items_in_batch)
        return (loss, {}) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        # `Trainer.evaluate` knows one loss; this one compares several kinds of memory.
        loader = self.get_eval_dataloader(eval_dataset)
        table = reconstruction_table(self._inner(), loader, self.accelerator.device)
        return self.report(summary(table), metric_key_prefix)
