"""A training without numbers ends with an error and saves nothing."""

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerState, TrainingArguments

from transformers_empathav.training.callbacks import DivergenceCallback


class Line(nn.Module):
    """A slope whose loss is no number from its third call."""

    def __init__(self, breaks_at):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))
        self.calls, self.breaks_at = 0, breaks_at

    def forward(self, x):
        self.calls += 1
        return {"loss": self.slope.square() * (torch.nan if self.calls >= self.breaks_at else 1)}


def train(folder, breaks_at, **options):
    rows = [{"x": torch.ones(1)}] * 8
    settings = dict(use_cpu=True, report_to="none", logging_steps=1, per_device_train_batch_size=2, disable_tqdm=True)
    arguments = TrainingArguments(str(folder), save_steps=1, **{**settings, **options})
    model = Line(breaks_at)
    Trainer(model, arguments, train_dataset=rows, callbacks=[DivergenceCallback()]).train()
    return model


def test_training_ends_where_the_gradient_is_no_number(tmp_path):
    with pytest.raises(FloatingPointError, match="grad_norm is nan at step 3.*eager.*float32"):
        train(tmp_path, breaks_at=3)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_also_where_no_gradient_is_measured(tmp_path):
    with pytest.raises(FloatingPointError, match="loss is nan"):
        train(tmp_path, breaks_at=3, max_grad_norm=0, logging_nan_inf_filter=False)


def test_a_training_with_numbers_is_left_alone(tmp_path):
    assert train(tmp_path, breaks_at=99, num_train_epochs=1).calls == 4


def test_overflows_of_float16_are_no_divergence(tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    arguments.fp16 = True
    DivergenceCallback().on_log(arguments, TrainerState(), None, {"loss": 1.0, "grad_norm": float("inf")})
    with pytest.raises(FloatingPointError):
        DivergenceCallback().on_log(arguments, TrainerState(), None, {"loss": float("inf"), "grad_norm": 1.0})
