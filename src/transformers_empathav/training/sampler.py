"""Random orders of rows in which each batch has rows of about equal length."""

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..data.replies import text_of


class LengthSampler(LengthGroupedSampler):
    r"""
    A random order in which each batch has rows of about equal length, which saves half of the padding. It depends on
    seed and epoch alone, so a resumed run has the same one. transformers' sampler, on which it rests, sorts fifty
    batches at a time from long to short; here batches come in a random order, since a learning rate falls meanwhile.

    Args:
        batch_size (`int`): Rows that should be alike.
        lengths (`list[int]`): Of each row.
        seed (`int`): Of the order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int):
        self.generator = torch.Generator().manual_seed(self.seed + epoch)

    def __iter__(self):
        batches = torch.tensor(list(super().__iter__())).split(self.batch_size)
        whole = len(self.lengths) // self.batch_size
        order = torch.randperm(whole, generator=self.generator).tolist() + list(range(whole, len(batches)))
        return iter([row for batch in order for row in batches[batch].tolist()])


def length_sampler(trainer: Trainer, dataset) -> LengthSampler:
    """
    A [`LengthSampler`] for rows of replies or of pairs; return it from `_get_train_sampler`.

    The rows of one update, of all processes and accumulated batches, are alike. So the order is the same for two
    processes and for one with twice the batch.
    """
    seed = trainer.args.seed if trainer.args.data_seed is None else trainer.args.data_seed
    return LengthSampler(rows_of_a_step(trainer), [row_length(row) for row in dataset], seed)


def rows_of_a_step(trainer: Trainer) -> int:
    """Rows of one update, of all processes."""
    arguments = trainer.args
    return arguments.train_batch_size * arguments.gradient_accumulation_steps * trainer.accelerator.num_processes


def row_length(row: dict) -> int:
    """How many letters the messages of a row have: about its length, without tokenising it."""
    columns = ("prompt", "completion", "chosen", "rejected")
    return sum(len(text_of(message)) for name in columns for message in row.get(name) or [])
