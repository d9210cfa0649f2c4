"""Orders of rows in which batches are of about equal length."""

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..data.replies import text_of


class LengthSampler(LengthGroupedSampler):
    """Batches of about equal length, which saves half of the padding; the order depends on seed and epoch alone."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int):
        self.generator = torch.Generator().manual_seed(self.seed + epoch)


def length_sampler(trainer: Trainer, dataset) -> LengthSampler:
    """
    Rows of about equal length beside each other.

    The order depends on seed, epoch and the rows of one step of all processes, so it is the same for two processes and
    for one with twice the batch.
    """
    return LengthSampler(rows_of_a_step(trainer), [row_length(row) for row in dataset], trainer.args.seed)


def rows_of_a_step(trainer: Trainer) -> int:
    """Rows of one update, of all processes."""
    arguments = trainer.args
    return arguments.train_batch_size * arguments.gradient_accumulation_steps * trainer.accelerator.num_processes


def row_length(row: dict) -> int:
    """Letters of a row's messages, a measure of its length that costs nothing."""
    columns = ("prompt", "completion", "chosen", "rejected")
    return sum(len(text_of(message)) for name in columns for message in row.get(name) or [])
