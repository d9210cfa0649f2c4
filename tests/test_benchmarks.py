"""The page of the benchmarks is what their figures say."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def report(monkeypatch, tmp_path):
    """benchmarks/report.py, with a page and figures of its own."""
    spec = importlib.util.spec_from_file_location("benchmark_report", BENCHMARKS / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    module.PAGE.write_text("Words.\n\n<!-- benchmark: scan -->\nold\n<!-- /benchmark -->\n\nMore.\n", encoding="utf-8")
    return module


def call(report, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["report.py", *options])
    report.main()


def script(report, monkeypatch, tmp_path, text: str):
    """Lets the run `scan` be a script of this text."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/scan.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "ROOT", tmp_path)


def test_the_page_of_the_repository_is_up_to_date(report):
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    kept = json.loads((BENCHMARKS / "figures.json").read_text(encoding="utf-8"))
    assert report.render(page, kept) == page, "run `python benchmarks/report.py --render`"
    assert page.count("<!-- benchmark: ") == page.count("<!-- /benchmark -->") == len(report.PLACE.findall(page)) > 0


def test_every_benchmark_is_run(report):
    scripts = {path.name for path in BENCHMARKS.glob("*.py")} - {"report.py", "ablate_compressor.py"}
    assert {command[0] for command in report.RUNS.values()} == scripts and set(report.TABLES) <= set(report.RUNS)


def test_figures_are_kept_and_the_page_is_written(report, monkeypatch, tmp_path):
    script(
        report, monkeypatch, tmp_path, "print('busy')\nprint('{\"ratio_to_floor\": 1.4321, \"max_rel_err\": 1e-5}')"
    )
    report.FIGURES.write_text('{"other": {"figures": {"a": 1}}}', encoding="utf-8")
    call(report, monkeypatch, "scan")
    kept = json.loads(report.FIGURES.read_text(encoding="utf-8"))
    assert kept["scan"]["figures"]["ratio_to_floor"] == 1.4321 and kept["other"] == {"figures": {"a": 1}}
    assert kept["scan"]["command"] == "python benchmarks/scan.py" and kept["scan"]["machine"] == report.machine()
    page = report.PAGE.read_text(encoding="utf-8")
    assert "| time, in that of the matrix products alone | 1.432 |" in page and "| 1.0e-05 |" in page
    assert page.startswith("Words.\n") and page.endswith("\nMore.\n") and "old" not in page
    call(report, monkeypatch, "--render")
    assert report.PAGE.read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "text, said",
    [("raise SystemExit(3)", "scan ended with 3"), ("print('no')", "scan did not end with a line of JSON")],
)
def test_a_failure_is_named_and_old_figures_stay(report, monkeypatch, tmp_path, text, said):
    script(report, monkeypatch, tmp_path, text)
    old = json.dumps({"scan": {"command": "c", "machine": "m", "day": "d", "figures": {"ratio_to_floor": 2}}})
    report.FIGURES.write_text(old, encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        call(report, monkeypatch, "scan")
    assert report.FIGURES.read_text(encoding="utf-8") == old and "| 2 |" in report.PAGE.read_text(encoding="utf-8")


def test_lists_head_columns_and_a_missing_cell_is_a_dash(report):
    figures = {"turns": [10, 4000], "turn_s": [0.24, 0.5], "full_kept_kv_turn_s": [0.255], "rss_mb": [1313, 1400]}
    rows = report.table("conversation", {"command": "c", "machine": "m", "day": "d", "figures": figures})
    assert "| turns so far | 10 | 4,000 |" in rows and "| 1,313 | 1,400 |" in rows and "| 0.255 | – |" in rows


def test_what_is_unknown_is_an_error(report, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(report, monkeypatch, "scam")
    assert "There is no scam: take" in capsys.readouterr().err
    with pytest.raises(ValueError, match="scan has no table or no figures"):
        call(report, monkeypatch, "--render")


def test_the_memory_of_training_is_that_of_its_weights():
    """Llama-3.1-8B's shape with two layers: every process has the embeddings whole, and its part of the rest."""
    spec = importlib.util.spec_from_file_location("training_memory", BENCHMARKS / "training_memory.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    h, k, f, vocabulary, layers = 4096, 1024, 14336, 128256, 2
    rest = layers * (2 * h * h + 2 * h * k + 3 * h * f + 2 * h) + h + vocabulary * h
    adapter = 8 * layers * (8 * h + 3 * (h + f) - 2 * (h - k))
    for processes in (1, 2):
        sizes = module.measure(layers, 1, 32, processes)
        assert sizes["frozen"] == pytest.approx(2 * (vocabulary * h + rest / processes) / 1e9, abs=1e-3)
        assert sizes["trained"] == pytest.approx(16 * adapter / processes / 1e9, abs=1e-3)
        assert 0 < sizes["activations"] < 1.4  # no more than two layers are gathered, and one copied
