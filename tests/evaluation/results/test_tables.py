"""results.json to documents: markers, numbers, and that what is committed agrees."""

from pathlib import Path

import pytest
import yaml

from transformers_empathav.evaluation.results.plots import plots
from transformers_empathav.evaluation.results.tables import (
    END,
    START,
    fill,
    number,
    read_results,
    render,
    tables,
    whole_document,
)


ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "results.json"


def figure(value, n=40):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": n}


@pytest.fixture
def results():
    systems = {
        name: {"emotional_similarity (own)": figure(value), "perplexity": figure(20 * value), "bleu": figure(1.5)}
        for name, value in (("SFT + EPO", 0.8), ("bare", 0.7))
    }
    difference = {"value": 0.1, "low": 0.05, "high": 0.15, "p": 0.0005, "relative": 0.14, "n": 40}
    rating = {"first": figure(4), "second": figure(3), "difference": difference, "same_preference": 0.9, "alpha": None}
    return {
        "corpora": {
            "empathetic_dialogues": {
                "contexts": 40,
                "conversations": 30,
                "systems": systems,
                "comparisons": {
                    "SFT + EPO - bare": {
                        "all": {"emotional_similarity (own)": difference},
                        "length_matched": None,
                        "length_matched_contexts": 7,
                    }
                },
                "judge": {
                    "judge": "some-model",
                    "pairs": {"SFT + EPO - bare": {"contexts": 10, "unreadable": 2, "scales": {"empathy": rating}}},
                },
            }
        },
        "history": [
            {
                "corpus": "esconv",
                "system": "bare",
                "contexts": 9,
                "conversations": 4,
                "more_than": 12,
                "recent_turns": 4,
                "variants": {
                    "own": {**figure(12.5), "above_full": {"value": 0.021, "low": 0.01, "high": 0.03}},
                    "full": {**figure(12.2), "above_full": {"value": 0.0, "low": 0.0, "high": 0.0}},
                },
                "differences": {"own - full": {"value": 0.3, "low": 0.2, "high": 0.4, "p": 0.02}},
            }
        ],
        "systems": {name: {"model": "build/x", "digest": "ab" * 32} for name in systems},
        "instruments": {"emotion scorer own": {"model": "scorer", "digest": "cd" * 32}},
        "settings": {"seed": 0, "contexts": 40},
        "bleu_signature": "nrefs:1",
        "versions": {"torch": "2"},
    }


def test_a_table_shows_figures_with_intervals(results):
    found = tables(results)
    assert (
        "| emotional similarity (own) | 0.800 (0.790–0.810) | 0.700 (0.690–0.710) |"
        in found["replies-empathetic-dialogues"]
    )
    assert "40 contexts of 30 conversations" in found["replies-empathetic-dialogues"]
    assert "perplexity ↓" in found["replies-empathetic-dialogues"]
    assert "bleu" not in found["headline-empathetic-dialogues"]
    assert "+0.100 (+0.050 to +0.150) | < 0.001 | – | – |" in found["comparisons-empathetic-dialogues"]
    assert "| contexts | 40 | | 7 | |" in found["comparisons-empathetic-dialogues"]
    assert "the memory of the older ones | 12.50 (12.49–12.51) | +2.1 % (+1.0 to +3.0 %) |" in found["history"]
    assert "| all messages verbatim | +0.300 (+0.200 to +0.400) | 0.020 |" in found["history"]
    assert "0.90 | – |" in found["judge-empathetic-dialogues"]
    assert "abababababababab" in found["provenance"] and "nrefs:1" in found["provenance"]


def test_rows_of_a_card_are_yaml(results):
    rows = yaml.safe_load("results:\n" + tables(results)["card-SFT-EPO"])["results"]
    assert [row["metric"] for row in rows] == ["emotional similarity (own), SFT + EPO", "perplexity, SFT + EPO"]
    assert rows[0]["value"] == 0.8 and rows[0]["interval"] == [0.79, 0.81] and rows[0]["samples"] == 40
    assert rows[0]["dataset_id"] == "facebook/empathetic_dialogues"


def test_marked_places_are_filled_and_the_rest_stays(results):
    text = f"before\n\n{START.format(name='history')}\nstale\n{END}\n\nafter\n"
    filled = fill(text, tables(results))
    assert filled.startswith("before\n\n<!-- results:history -->\n9 replies") and filled.endswith(f"{END}\n\nafter\n")
    assert "stale" not in filled and fill(filled, tables(results)) == filled
    assert fill("no place", {}) == "no place"


def test_a_place_in_yaml_keeps_its_markers(results):
    text = "results:\n  # <!-- results:card-bare -->\n  # <!-- /results -->\nlimits: []\n"
    filled = fill(text, tables(results))
    assert yaml.safe_load(filled)["results"][0]["value"] == 0.7 and yaml.safe_load(filled)["limits"] == []
    assert fill(filled, tables(results)) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{START.format(name='history')}\nno end\n", "not closed"),
        (f"{START.format(name='nothing')}\n{END}\n", "wants the table 'nothing'"),
    ],
)
def test_a_wrong_place_is_refused(results, text, said):
    with pytest.raises(ValueError, match=said):
        fill(text, tables(results))


def test_a_document_is_made_once_and_then_only_filled(results, tmp_path):
    path = tmp_path / "docs" / "results.md"
    render(results, [path])
    made = path.read_text()
    assert made == whole_document(results) and "## History" in made and "card-" not in made
    path.write_text(made.replace("# Results\n", "# Results\n\nWords of our own.\n"))
    results["history"][0]["variants"]["own"]["value"] = 13.0
    render(results, [path])
    assert "Words of our own." in path.read_text() and "13.00" in path.read_text()


def test_plots_are_pictures(results, tmp_path):
    written = plots(results, tmp_path)
    assert [path.name for path in written] == ["replies_empathetic_dialogues.png", "history_4.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.12345, "0.123"), (12.345, "12.35"), (123.45, "123.5"), (-0.5, "-0.500")]
)
def test_numbers(value, shown):
    assert number(value) == shown


def marked_documents():
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "model_cards").glob("*.md"))]
    paths += sorted((ROOT / "checkpoints").glob("*/*.yaml")) + sorted((ROOT / "checkpoints").glob("*/*.md"))
    return [path for path in paths if START.partition("{")[0] in path.read_text(encoding="utf-8")]


def test_tables_in_documents_equal_the_committed_results():
    """
    README, card and docs hold what docs/results.json says, or a file of their own name beside them, as
    `recipes/evaluate.py --render` writes it.
    """
    if not COMMITTED.is_file():
        assert not marked_documents(), "documents have places for results and docs/results.json is missing"
        pytest.skip("no docs/results.json is committed")
    assert marked_documents()
    for path in marked_documents():
        text, own = path.read_text(encoding="utf-8"), path.with_suffix(".json")
        source = own if own.is_file() else COMMITTED
        assert fill(text, tables(read_results(source)), path.name) == text, f"{path} does not show what {source} says"
