"""What a run writes about its pairs."""

import json
import logging

import pytest
from datasets import load_from_disk

from transformers_empathav.pairs.report import save_report
from transformers_empathav.pairs.style_leak import pair_measures


FACTS = {"corpora": ["talks"], "split": "train", "writer": "someone"}
COUNTS = {"chosen": 6, "row without a pair": 2, "empty": 4}


def rows(kind: str, chosen: str = "I see that") -> list[dict]:
    scores = {"emotional_distance": 0.5, "contextual_similarity": 0.4, "length_ratio": 1.0}
    candidate = {"emotion": "sad", "text": "No", "finish_reason": "stop", "reason": "chosen", "words": 1, **scores}
    return [
        {
            "id": f"{kind}-{number}",
            "dialogue": str(number),
            "kind": kind,
            "prompt": [{"role": "user", "content": f"Number {number}"}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": "No"}],
            "emotion": "happy",
            "emotion_by": "scorer",
            "rejected_emotion": "sad",
            **scores,
            "candidates": [{**candidate, "obedience": 0.9}],
        }
        for number in range(6)
    ]


def test_every_kind_gets_a_dataset_and_a_line_and_the_page_its_pairs(tmp_path, caplog):
    made = {kind: (rows(kind), COUNTS) for kind in ("random", "opposite")}
    with caplog.at_level(logging.WARNING):
        table = save_report(tmp_path, made, FACTS, inspect=2)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == ["| random", "| opposite"]
    assert (tmp_path / "table.md").read_text() == table + "\n"
    saved = json.loads((tmp_path / "table.json").read_text())
    assert saved == {
        "measures": {kind: pair_measures(pairs) for kind, (pairs, _) in made.items()},
        "counts": {"random": COUNTS, "opposite": COUNTS},
    }
    assert [row["id"] for row in load_from_disk(tmp_path / "opposite")] == [
        f"opposite-{number}" for number in range(6)
    ]
    assert (tmp_path / "inspect.html").read_text().count("<article>") == 4
    assert "bag of words" in caplog.text and "random" in caplog.text  # always the same words on either side


def test_pairs_that_words_do_not_tell_apart_bring_no_warning_and_no_page_unless_it_is_asked_for(tmp_path, caplog):
    save_report(tmp_path, {"random": (rows("random", chosen="No"), COUNTS)}, FACTS)
    assert not caplog.text and not (tmp_path / "inspect.html").exists()


def test_a_kind_without_pairs_is_named_with_the_reasons_and_nothing_is_written(tmp_path):
    made = {"random": (rows("random"), COUNTS), "opposite": ([], {"empty": 4, "row without a pair": 6})}
    with pytest.raises(ValueError, match="None of 6 .* kind opposite .row without a pair 6, empty 4.: loosen"):
        save_report(tmp_path, made, FACTS)
    assert not list(tmp_path.iterdir())
