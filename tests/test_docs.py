"""The documentation site builds without a warning, and its tables are those of the results they stand for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from transformers_empathav.evaluation.results.tables import read_results, tables


ROOT = Path(__file__).parent.parent


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the site is built with the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    assert "EPOTrainer" in (tmp_path / "reference" / "training.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["variants", "longer"])
def test_tables_of_the_experiments_are_those_of_their_results(source):
    table = tables(read_results(ROOT / "docs" / f"{source}.json"))["headline-empathetic-dialogues"]
    assert table in (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")


def test_the_start_page_shows_the_example_of_the_readme():
    first, second = (
        re.search(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)[1]
        for name in ("README.md", "docs/index.md")
    )
    assert first == second


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_lines_can_be_read(path):
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.startswith("```")
        assert code or len(line) <= 120 or line.lstrip().startswith(("|", "<", "[")), f"{path.name}, line {number}"


def test_every_test_that_watches_a_hook_exists():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert len(named) > 20 and not [name for name in named if f"def {name}(" not in code]


def test_every_file_that_a_page_names_exists():
    package, missing = ROOT / "src" / "transformers_empathav", []
    places = [ROOT, package, ROOT / "tests", package / "modeling", package / "processing"]
    places += [ROOT / "recipes/configs", ROOT / "recipes/accelerate_configs", ROOT / "checkpoints/smollm2-135m"]
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for name in re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|yaml|sh))`", page.read_text(encoding="utf-8")):
            if not name.startswith("trl/") and not any((place / name).exists() for place in places):
                missing.append(f"{page.name}: {name}")
    assert not missing, "\n".join(missing)
