"""The command: its options, its one line of error. What a push does is tested in tests/hub/."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import load_recipe
from transformers_empathav.hub.push import push


RECIPE = Path(__file__).parents[2] / "recipes" / "push.py"


@pytest.fixture
def given(monkeypatch):
    """What the command hands to `push` for some options."""
    recipe = load_recipe("push")
    monkeypatch.setattr(recipe, "push", lambda **arguments: arguments)
    return lambda *options: recipe.main(recipe.parser().parse_args(["build/tiny", "--repo_id", "ann/tiny", *options]))


def test_without_options_it_is_push_as_it_is_called(given):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(push).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert given() == {"checkpoint": "build/tiny", "repo_id": "ann/tiny", **defaults}


def test_every_option_arrives(given):
    options = {"revision": "next", "base_model": "ann/base", "max_shard_size": "1MB", "message": "Again"}
    found = given(
        "--private", "--dry_run", *(text for name, value in options.items() for text in (f"--{name}", value))
    )
    expected = {"checkpoint": "build/tiny", "repo_id": "ann/tiny", "private": True, "dry_run": True, **options}
    assert found == {**expected, "api": None}


def test_a_refusal_is_one_line_of_error(tmp_path):
    command = [sys.executable, str(RECIPE), str(tmp_path / "nowhere"), "--repo_id", "ann/tiny"]
    done = subprocess.run(command, capture_output=True, text=True)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and "nowhere is no directory: give a checkpoint or an adapter." in line
