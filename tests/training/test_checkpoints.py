"""Where a run goes on: a checkpoint that a kill has left incomplete is named, and the one before it is taken."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import TrainingArguments

from trainers import ROWS, SETTINGS, Line, gather
from transformers_empathav.training.arguments import resume_from
from transformers_empathav.training.checkpoints import checkpoint_problems, last_complete_checkpoint
from transformers_empathav.training.watched_trainer import WatchedTrainer


PROCESSES = multiprocessing.get_context("fork")  # the children need no second import


def train(folder, steps=3, **options):
    """Trains on, from the last complete checkpoint, with one at each step."""
    settings = {**SETTINGS, "save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 2}
    settings |= {"max_steps": steps, "resume_from_checkpoint": "true", "save_total_limit": 4}
    arguments = TrainingArguments(str(folder), **{**settings, **options})
    trainer = WatchedTrainer(Line(), arguments, train_dataset=ROWS, data_collator=gather)
    trainer.train(resume_from_checkpoint=resume_from(arguments))
    return trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "copy"))


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [remove, empty, halve])
@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("model.safetensors", "no weights"),
        ("optimizer.pt", "no optimizer"),
        ("scheduler.pt", "no schedule"),
        ("rng_state.pth", "no state of random numbers"),
        ("trainer_state.json", "no state of the training"),
    ],
)
def test_an_incomplete_checkpoint_is_named_and_the_one_before_it_is_taken(copy, caplog, damage, name, lacking):
    newest = copy / "checkpoint-3"
    assert last_complete_checkpoint(copy) == str(newest) and not caplog.text
    damage(newest / name)
    problem = f"it has {lacking}" if damage is remove else f"{name} is cut off"
    assert problem in checkpoint_problems(newest)
    assert last_complete_checkpoint(copy) == str(copy / "checkpoint-2")
    assert f"{newest} is skipped" in caplog.text and problem in caplog.text and "checkpoint-2" not in caplog.text
    arguments = TrainingArguments(str(copy), use_cpu=True, resume_from_checkpoint=str(newest))
    with pytest.raises(ValueError, match=f"A run cannot go on from {newest}: .*{problem}.*say true") as error:
        resume_from(arguments)
    assert "\n" not in str(error.value)


def test_without_a_complete_checkpoint_a_run_begins_anew_and_says_so(copy, caplog):
    for number in (1, 2, 3):
        remove(copy / f"checkpoint-{number}" / "optimizer.pt")
    assert last_complete_checkpoint(copy) is None
    assert caplog.text.count("is skipped") == 3 and "there is none to go on from" in caplog.text
    assert last_complete_checkpoint(copy / "nowhere") is None
    assert checkpoint_problems(copy / "nowhere") == ["there is no such directory"]


def test_other_folders_are_no_checkpoints(copy, caplog):
    for name in ("checkpoint-best", "checkpoint-9.old", "checkpoint-"):
        (copy / name).mkdir()
    (copy / "checkpoint-8").write_text("a file")
    assert last_complete_checkpoint(copy) == str(copy / "checkpoint-3") and not caplog.text


def killed_at_a_file(folder, name, cut, **options):
    """Trains to the third checkpoint and is killed when one of its files, or half of it, is written."""
    import safetensors.torch
    import torch
    from transformers import TrainerState

    def killing(write):
        def written(*arguments, **keywords):
            write(*arguments, **keywords)
            path = folder / "checkpoint-3" / name
            if path.is_file() and path.stat().st_mtime_ns > begun:
                if cut:
                    halve(path)
                os.kill(os.getpid(), signal.SIGKILL)

        return written

    begun = time.time_ns()
    torch.save = killing(torch.save)
    safetensors.torch.save_file = killing(safetensors.torch.save_file)
    TrainerState.save_to_json = killing(TrainerState.save_to_json)
    train(folder, **options)


def kill(*arguments, **options):
    child = PROCESSES.Process(target=killed_at_a_file, args=arguments, kwargs=options)
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"],
)
def test_a_kill_in_the_middle_of_any_file_leaves_the_checkpoint_before(run, tmp_path, name):
    kill(tmp_path, name, cut=True)
    assert (tmp_path / "checkpoint-3").is_dir()
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    train(tmp_path)
    found, wanted = (load_file(folder / "checkpoint-3" / "model.safetensors") for folder in (tmp_path, run))
    assert found == wanted


def test_a_checkpoint_of_an_older_run_that_is_half_overwritten_is_not_complete(copy):
    """Its new weights would go on with the old optimizer."""
    kill(copy, "model.safetensors", cut=False, resume_from_checkpoint=None)
    assert checkpoint_problems(copy / "checkpoint-3") == ["it has no state of the training"]
    assert last_complete_checkpoint(copy) == str(copy / "checkpoint-2")


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(tmp_path):
    whole = train(tmp_path / "whole", steps=30).model.slope
    draw, folder, kills = random.Random(0), tmp_path / "killed", 0
    for _ in range(6):
        child = PROCESSES.Process(target=train, args=(folder, 30))
        child.start()
        time.sleep(draw.uniform(0.05, 0.4))
        child.kill()
        child.join()
        kills += child.exitcode == -signal.SIGKILL
    assert kills and train(folder, steps=30).model.slope == whole
