"""A training that has lost its numbers ends with an error that says where, whatever is logged."""

import math
import multiprocessing
import resource

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from trainers import ROWS, SETTINGS, Line, gather
from transformers_empathav.training.watched_trainer import WatchedTrainer, without_cudnn_attention


NAN_ROW = [*ROWS[:5], {"id": "spoilt", "x": torch.tensor([math.nan])}, *ROWS[6:]]
LATE = {"logging_steps": 1000}  # nothing is logged before the end


class Backward(torch.autograd.Function):
    """The number itself; its gradient goes through a function."""

    @staticmethod
    def forward(ctx, number, change):
        ctx.change = change
        return number.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


class Bent(Line):
    """A line whose gradients go through a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return {"loss": Backward.apply(super().forward(x)["loss"], self.change)}


def trainer_of(folder, model=None, rows=ROWS, **options):
    settings = {**SETTINGS, "train_sampling_strategy": "sequential", "per_device_train_batch_size": 2}
    arguments = TrainingArguments(str(folder), **{**settings, **options})
    return WatchedTrainer(model or Line(), arguments, train_dataset=rows, data_collator=gather)


@pytest.mark.parametrize("options", [{}, LATE, {"max_grad_norm": 0.0}, {"logging_nan_inf_filter": False}])
def test_a_loss_that_is_no_number_ends_the_training_and_names_the_batch(tmp_path, options):
    trainer = trainer_of(tmp_path, rows=NAN_ROW, **options)
    with pytest.raises(FloatingPointError, match="loss is nan at step 3, rows row-4, spoilt. The weights are finite"):
        trainer.train()
    assert trainer.model.slope.isfinite()


@pytest.mark.parametrize("options", [{}, LATE, {"max_grad_norm": 0.0}])
def test_a_gradient_that_is_no_number_names_all_rows_of_the_update(tmp_path, options):
    steps = iter([1.0, 1.0, 1.0, math.nan, 1.0, 1.0, 1.0, 1.0])
    model = Bent(lambda gradient: gradient * next(steps))
    trainer = trainer_of(tmp_path, model, gradient_accumulation_steps=2, num_train_epochs=2, **options)
    with pytest.raises(FloatingPointError, match="grad_norm is nan at step 2, rows row-4, row-5, row-6, row-7. The"):
        trainer.train()
    assert model.slope.isfinite()


def test_weights_that_are_lost_are_told_from_rows(tmp_path):
    model = Line()
    model.slope.data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="slope is not finite any more.*eager.*float32"):
        trainer_of(tmp_path, model).train()


def test_a_training_with_numbers_is_left_alone(tmp_path):
    trainer = trainer_of(tmp_path, num_train_epochs=1)
    trainer.train()
    assert trainer.state.global_step == 4 and 0 < trainer.model.slope < 1
    assert trainer.data_collator is gather


def in_float16(trainer):
    """With a scale of the loss, as float16 has it, which a CPU has not by itself."""
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    return trainer


def test_overflows_of_float16_are_no_divergence(tmp_path):
    """Gradients are infinite until the scale has fallen; then the training learns."""
    model = Bent(lambda gradient: torch.where(gradient.abs() > 2**12, torch.inf, gradient))
    trainer = in_float16(trainer_of(tmp_path, model, num_train_epochs=4, optim="sgd", max_grad_norm=0.0))
    trainer.train()
    assert trainer.state.global_step == 16 and model.slope < 1


def test_the_scale_of_deepspeed_is_left_to_it(tmp_path):
    trainer = trainer_of(tmp_path, Bent(lambda gradient: gradient * torch.inf), max_steps=1)
    trainer.args.fp16 = True
    trainer.train()


def test_gradients_that_stay_lost_in_float16_end_the_training(tmp_path):
    """The scale halves from step to step, no weight moves, and the loss is finite all the time."""
    trainer = in_float16(trainer_of(tmp_path, Bent(lambda gradient: gradient * math.nan), num_train_epochs=9, **LATE))
    with pytest.raises(FloatingPointError, match="grad_norm is nan at step 18, rows row-2, row-3. The weights"):
        trainer.train()


def test_a_training_runs_without_the_attention_of_cudnn_and_leaves_it_as_it_was(tmp_path):
    seen = []

    class Looking(Bent):
        def forward(self, x):
            seen.append(torch.backends.cuda.cudnn_sdp_enabled())
            return super().forward(x)

    model = Looking(lambda gradient: seen.append(torch.backends.cuda.cudnn_sdp_enabled()) or gradient)
    assert torch.backends.cuda.cudnn_sdp_enabled()
    trainer_of(tmp_path, model, max_steps=1).train()
    assert seen == [False, False] and torch.backends.cuda.cudnn_sdp_enabled()
    with pytest.raises(KeyError), without_cudnn_attention():
        raise KeyError
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_nothing_to_learn_from_and_nothing_that_learns_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="train_dataset has no rows"):
        trainer_of(tmp_path, rows=[])
    with pytest.raises(ValueError, match="eval_dataset second has no rows"):
        arguments = TrainingArguments(str(tmp_path), **SETTINGS)
        WatchedTrainer(Line(), arguments, eval_dataset={"first": ROWS, "second": []}, data_collator=gather)
    with pytest.raises(ValueError, match="All weights of the model are frozen"):
        trainer_of(tmp_path, Line().requires_grad_(False))


def test_a_part_is_not_published_as_a_model(tmp_path):
    with pytest.raises(ValueError, match="push_to_hub is for whole models and adapters"):
        trainer_of(tmp_path, push_to_hub=True)


def save_too_much(trainer, folder, outcome):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))  # as a full disk, but for this process
    try:
        trainer.save_model(str(folder))
    except Exception as error:
        outcome.put((isinstance(error, OSError), str(error)))


def test_a_full_disk_is_an_oserror(tmp_path):
    processes = multiprocessing.get_context("fork")
    outcome = processes.SimpleQueue()
    writer = processes.Process(target=save_too_much, args=(trainer_of(tmp_path), tmp_path / "saved", outcome))
    writer.start()
    is_oserror, line = outcome.get()
    writer.join(120)
    assert is_oserror and str(tmp_path / "saved") in line and "could not be written" in line and "\n" not in line


def test_many_rows_of_a_batch_are_not_all_named(tmp_path):
    rows = [{"id": f"{index}", "x": torch.tensor([math.nan])} for index in range(20)]
    with pytest.raises(FloatingPointError, match=r"rows 0, 1, .*15, \.\.\.\. The"):
        trainer_of(tmp_path, rows=rows, per_device_train_batch_size=20).train()


def test_rows_without_an_id_are_named_by_how_they_begin(tmp_path):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(math.nan))

        def forward(self, x):
            return {"loss": self.slope * x.sum()}

    rows = [[{"role": "user", "content": "I lost my job"}]]
    trainer = WatchedTrainer(
        Words(),
        TrainingArguments(str(tmp_path), **SETTINGS),
        train_dataset=rows,
        data_collator=lambda rows: {"x": torch.ones(len(rows))},
    )
    with pytest.raises(FloatingPointError, match="I lost my job"):
        trainer.train()
