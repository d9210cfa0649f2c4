"""The README's Python runs as written, on the assembled checkpoint and the demonstration clips."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_examples_run_as_written(checkpoint_dir, tmp_path):
    from transformers_empathav.data.clips.demo import save_demo_clips

    try:
        save_demo_clips(ROOT / "build" / "demo_clips")
    except OSError as error:
        pytest.skip(f"the demonstration clips cannot be fetched: {error}")
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    code = code.replace("build/memory", str(tmp_path / "memory"))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    scores, reply = result.stdout.strip().split("\n", 1)
    assert "'surprised'" in scores and reply.strip()
    assert (tmp_path / "memory" / "memory.safetensors").is_file()


def test_the_first_example_has_ten_lines_at_most():
    first = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    assert len(first.strip().splitlines()) <= 10


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_command_of_the_readme_is_known():
    from typer.main import get_command

    from transformers_empathav.cli import app

    known = set(get_command(app).commands)
    assert {name for name in re.findall(r"^empathav (\w+)", README, flags=re.MULTILINE)} <= known
