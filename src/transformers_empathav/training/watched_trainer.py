"""What every trainer here does beside its own loss: it ends a training that has lost its numbers, and says where."""

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch.utils.data import IterableDataset
from transformers import Trainer

from .callbacks import ThroughputCallback
from .checkpoints import STATE_FILE
from .row_checks import name_of


ROWS = "row_names"
MOST_NAMES = 16  # of rows in a message
INSTEAD = "attn_implementation eager in place of sdpa, or llm_dtype float32 and bf16 false"


class WatchedTrainer(Trainer):
    """
    `transformers.Trainer` that looks at the loss of every batch and at the gradient of every update. With `Trainer`
    alone a loss that is not finite is logged as 0, and weights that are not numbers are saved at the end.

    A training gets the callbacks of this package, and runs without cuDNN's attention ([`without_cudnn_attention`]).

    Raises:
        `ValueError`: there is nothing to learn from, or nothing that learns; or a part shall be published.
        `FloatingPointError`: loss or gradient are not finite; names the step, the rows, and what can be done.
    """

    publishes = False

    def __init__(self, *args, callbacks=None, **kwargs):
        # Callbacks that are added later come after the one that prints, and what they add is never seen.
        super().__init__(*args, callbacks=[ThroughputCallback(), *(callbacks or [])], **kwargs)
        self.rows_of_update = []
        for name in ("train_dataset", "eval_dataset"):
            check_not_empty(getattr(self, name), name)
        learns = any(parameter.requires_grad for parameter in self.model.parameters())
        if self.train_dataset is not None and not learns:
            raise ValueError(
                "All weights of the model are frozen, so nothing can learn: add an adapter, or call requires_grad_() "
                "on what shall learn."
            )

    def init_hf_repo(self, *args, **kwargs):
        # `Trainer` calls this at its beginning where `push_to_hub` is set.
        if not self.publishes:
            raise ValueError(
                "push_to_hub is for whole models and adapters, and this trains a part: leave it off, assemble a "
                "checkpoint with the part, and publish that with recipes/push.py."
            )
        super().init_hf_repo(*args, **kwargs)

    def get_train_dataloader(self):
        # `Trainer` hands its collator to the loader. In training rows are named beside what it makes of them.
        plain, self.data_collator = self.data_collator, NamingCollator(self.data_collator)
        if isinstance(self.train_dataset, IterableDataset):
            # Else accelerate cuts batches of a stream into pieces for each process, and names cannot be cut.
            self.accelerator.dataloader_config.dispatch_batches = False
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain

    def training_step(self, model, inputs, num_items_in_batch=None):
        # `Trainer` calls this for each batch, forward and backward, and replaces a loss that is not finite.
        rows = inputs.pop(ROWS, [])
        self.rows_of_update += rows
        with without_cudnn_attention():
            loss = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(loss):
            raise self._divergence("loss", loss, rows)
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        # `Trainer` calls this before each update. In float16 gradients overflow until the scale of the loss is found:
        # such updates are skipped, and the scale is halved. Below 1 it is not the scale. DeepSpeed has its own.
        grad_norm, scaler = super()._get_grad_norm(model, grad_norm), self.accelerator.scaler
        may_overflow = self.args.fp16 if scaler is None else scaler.get_scale() >= 1
        if grad_norm is not None and not math.isfinite(grad_norm) and not may_overflow:
            raise self._divergence("grad_norm", grad_norm, self.rows_of_update)
        self.rows_of_update = []
        return grad_norm

    def _save_checkpoint(self, model, trial):
        # `Trainer` writes the state last. With that of an older run a half overwritten checkpoint would look complete.
        folder = Path(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")
        if self.args.should_save:
            (folder / STATE_FILE).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir=None, state_dict=None):
        # `Trainer` writes weights here. What safetensors raises for a full disk is no OSError.
        try:
            super()._save(output_dir, state_dict)
        except SafetensorError as error:
            raise OSError(
                f"{output_dir or self.args.output_dir} could not be written ({error}): check disk and permissions."
            ) from error

    def _divergence(self, what: str, value, rows: list[str]) -> FloatingPointError:
        """The error that says where numbers were lost, and what to look at first."""
        named = f", rows {', '.join(rows[:MOST_NAMES])}{', ...' if len(rows) > MOST_NAMES else ''}" if rows else ""
        names = (name for name, tensor in self.model.named_parameters() if not tensor.isfinite().all())
        broken = next(names, None)
        cause = (
            f"The weights are finite, so look at these rows first; else try a lower learning_rate, {INSTEAD}."
            if broken is None
            else f"{broken} is not finite any more: training has diverged, and what it would save is no model. Go on "
            f"from an earlier checkpoint in {self.args.output_dir}, or anew, with a lower learning_rate, {INSTEAD}."
        )
        return FloatingPointError(f"{what} is {float(value)} at step {self.state.global_step + 1}{named}. {cause}")


@dataclass
class NamingCollator:
    """The batch of another collator with the names of its rows, for errors."""

    collator: Callable[[list], dict]

    def __call__(self, rows: list) -> dict:
        return {**self.collator(rows), ROWS: [name_of(row) for row in rows]}


@contextmanager
def without_cudnn_attention():
    """
    A context without cuDNN's attention. Where a mask hides all keys of a query, as padding on the left does, and a row
    has certain widths, its backward pass gives NaN (pytorch/pytorch#196678). On a CPU it changes nothing.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def check_not_empty(dataset: Sequence | dict | None, name: str):
    """
    Makes sure that a dataset, or each of several by name, has rows. A stream is looked into when it is read.

    Raises:
        `ValueError`: it has none.
    """
    if isinstance(dataset, dict):
        for key, one in dataset.items():
            check_not_empty(one, f"{name} {key}")
    elif hasattr(dataset, "__len__") and not len(dataset):
        raise ValueError(f"{name} has no rows: give some, or leave it out.")
