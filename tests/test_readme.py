"""The README's Python runs as written on the assembled checkpoint, and what the pages name is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


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
    assert "assistant\n" not in reply, "the prompt is printed with the reply"
    assert (tmp_path / "memory" / "memory.safetensors").is_file()


def test_the_first_example_has_ten_lines_at_most():
    first = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    assert len([line for line in first.splitlines() if line.strip()]) <= 10


def test_it_stays_short():
    lines = README.splitlines()
    assert len(lines) <= 125
    for number, line in enumerate(lines, 1):
        seen = re.sub(r"\]\([^)]*\)", "]", line)  # where a link leads is not read
        assert len(seen) <= 120 or line.startswith(("|", "<")), f"line {number} has {len(seen)} characters"


def test_every_link_to_a_file_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", README) + re.findall(r'src(?:set)?="([^"]+)"', README)
    assert [target for target in links if not (ROOT / target).exists()] == []


def test_both_overview_pictures_show_the_same():
    bodies = [
        re.sub("<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for path in sorted((ROOT / "docs" / "images").glob("overview-*.svg"))
    ]
    assert len(bodies) == 2 and bodies[0] == bodies[1]


def test_every_folder_and_file_that_is_named_is_there():
    """The README's tree of folders, and the files that CONTRIBUTING.md tells to imitate."""
    package = ROOT / "src" / "transformers_empathav"
    folders = re.findall(r"^(\w+)/ {2,}", README, flags=re.MULTILINE)
    assert folders and [name for name in folders if not (package / name).is_dir()] == []
    named = re.findall(r"`([a-z_/]+\.(?:py|sh|txt))`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert named and [name for name in named if not ((ROOT / name).is_file() or (package / name).is_file())] == []


def test_the_citation_has_the_version_of_the_package():
    from transformers_empathav import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__ and citation["license"] == "Apache-2.0"
    assert "2412.17572" in citation["references"][0]["url"]


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_command_of_the_readme_is_known():
    from typer.main import get_command

    from transformers_empathav.cli import app

    known = set(get_command(app).commands)
    assert {name for name in re.findall(r"^empathav (\w+)", README, flags=re.MULTILINE)} <= known
