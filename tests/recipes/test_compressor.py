"""The compressor's recipe as users run it: a process, JSON lines of their own, stages that begin from one another."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trl import TrlParser

from helpers import load_recipe
from transformers_empathav.testing.tiny import tiny_model


RECIPE = Path(__file__).parents[2] / "recipes" / "compressor.py"
CONFIGS = RECIPE.parent / "configs"


@pytest.fixture
def folder(tmp_path, processor):
    tiny_model(processor).save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    said = [{"type": "video", "path": "job.mp4"}, {"type": "text", "text": "I lost my job"}]  # its words are read
    talk = {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "Oh no"}]}
    (tmp_path / "talks.jsonl").write_text((json.dumps(talk) + "\n") * 4)
    return tmp_path


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("compressor")


def parse(recipe, *given):
    groups = (recipe.ModelArguments, recipe.LessonArguments, recipe.TrainingArguments)
    return TrlParser(groups).parse_args_and_config([*map(str, given)])


def run(recipe, *given):
    recipe.main(*parse(recipe, *given))


def arguments(folder, **options):
    options = {
        "checkpoint": folder / "tiny",
        "corpora": folder / "talks.jsonl",
        "llm_dtype": "float32",
        "max_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 1,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "remove_unused_columns": False,
        "report_to": "none",
        **options,
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def launch(folder, **options):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", str(RECIPE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += arguments(folder, **options)
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_two_stages_and_a_resumed_run(folder):
    first = launch(folder, objective="spelling", output_dir=folder / "first")
    assert first.returncode == 0, first.stderr
    second = {"compressor": folder / "first/compressor.safetensors", "utterances": 2, "output_dir": folder / "second"}
    done = launch(folder, **second)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout + done.stderr for name in ("eval_own", "eval_worth", "minutes_left"))
    part = folder / "second" / "compressor.safetensors"
    whole = part.read_bytes()
    part.unlink()
    resumed = launch(folder, **second, resume_from_checkpoint=folder / "second" / "checkpoint-1")
    assert resumed.returncode == 0, resumed.stderr
    assert part.read_bytes() == whole


def test_the_same_command_goes_on_where_a_run_was_interrupted(recipe, folder):
    """As `recipes/reference.sh` calls it: from the start where there is no checkpoint, else from the last one."""
    options = arguments(folder, output_dir=folder / "out", resume_from_checkpoint="true", max_steps=3)
    run(recipe, *options)
    whole = load_file(folder / "out" / "compressor.safetensors")
    shutil.rmtree(folder / "out" / "checkpoint-3")
    state = folder / "out" / "checkpoint-2" / "trainer_state.json"
    before = state.stat().st_mtime_ns
    run(recipe, *options)
    assert state.stat().st_mtime_ns == before  # the first two steps were not made again
    again = load_file(folder / "out" / "compressor.safetensors")
    assert all(torch.equal(tensor, whole[name]) for name, tensor in again.items())


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("compressor_*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_are_understood(recipe, path):
    model, lesson, training = parse(recipe, "--config", path, "--use_cpu", "true", "--bf16", "false")
    assert model.checkpoint and lesson.corpora and not training.remove_unused_columns
