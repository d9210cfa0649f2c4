"""How the losses of a batch become the loss that a trainer returns."""

import torch
from transformers import Trainer


def mean_over_update(trainer: Trainer, losses: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
    r"""
    The part of a batch in the mean loss over all items of one update.

    Call it at the end of `compute_loss`, so that one update means the same however its rows are dealt to processes
    and to accumulated batches. `transformers.Trainer` counts the labels other than -100 over the accumulated batches,
    and with `average_tokens_across_devices` over all processes. It sums the gradients of accumulated batches and
    averages those of processes. Where the model's `forward` takes no further keyword arguments it counts nothing, and
    divides the loss by the number of accumulated batches itself.

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
