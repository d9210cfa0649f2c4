"""How the losses of a batch become the loss that a trainer returns."""

import torch
from transformers import Trainer


def mean_over_update(trainer: Trainer, losses: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
    r"""
    Sums the losses of a batch and divides by the items of the whole update. Return it from `compute_loss`: the update
    is then that of one big batch, however its rows are dealt to processes and to accumulated batches.

    What `transformers.Trainer` does: it counts the labels other than -100 over the accumulated batches, and with
    `average_tokens_across_devices` over all processes too. It sums the gradients of accumulated batches and averages
    those of processes. If the model's `forward` takes no further keyword arguments, it counts nothing and divides the
    loss by the number of accumulated batches itself.

    Args:
        trainer (`Trainer`): Whose `compute_loss` it is.
        losses (`torch.Tensor` of shape `(items,)`): Of this batch and process, one for each counted label.
        num_items_in_batch (`int` or `torch.Tensor`, *optional*): As `compute_loss` gets it.

    Returns:
        `torch.Tensor` of shape `()`: without `num_items_in_batch` the mean of `losses`.
    """
    if num_items_in_batch is None:
        return losses.sum() / losses.numel()
    processes = trainer.accelerator.num_processes if trainer.args.average_tokens_across_devices else 1
    return losses.sum() / (num_items_in_batch / processes)
