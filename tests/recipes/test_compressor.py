"""The compressor's recipe as users run it: a process, JSON lines of their own, stages that begin from one another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transformers_empathav.testing.tiny import tiny_model


RECIPE = Path(__file__).parents[2] / "recipes" / "compressor.py"


@pytest.fixture
def folder(tmp_path, processor):
    tiny_model(processor).save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    talk = {"messages": [{"role": "user", "content": "I lost my job"}, {"role": "assistant", "content": "Oh no"}]}
    (tmp_path / "talks.jsonl").write_text((json.dumps(talk) + "\n") * 4)
    return tmp_path


def launch(folder, **options):
    options = {
        "checkpoint": folder / "tiny",
        "corpora": folder / "talks.jsonl",
        "eval_corpus": folder / "talks.jsonl",
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
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", str(RECIPE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder, env=environment)


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
