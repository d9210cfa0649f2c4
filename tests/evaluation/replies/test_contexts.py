"""Contexts: which replies count, and what is drawn of them."""

import json

import pytest

from transformers_empathav.evaluation.replies.contexts import corpus_rows, draw


def test_rows_know_their_conversation_and_how_much_came_before(tmp_path):
    file = tmp_path / "talks.jsonl"
    turns = [{"role": ("user", "assistant")[turn % 2], "content": f"turn {turn}"} for turn in range(6)]
    file.write_text(
        "".join(json.dumps({"id": f"talk{talk}", "split": "dev", "messages": turns}) + "\n" for talk in range(2))
    )
    rows = corpus_rows(file)
    assert [(row["conversation"], len(row["prompt"])) for row in rows] == [
        ("talk0", 1), ("talk0", 3), ("talk0", 5), ("talk1", 1), ("talk1", 3), ("talk1", 5),
    ]  # fmt: skip
    assert [len(row["prompt"]) for row in corpus_rows(file, more_than=3)] == [5, 5]
    assert corpus_rows(file)[0]["situation"] is None
    with pytest.raises(ValueError, match="no reply after more than 5 messages"):
        corpus_rows(file, more_than=5)


def test_a_draw_keeps_the_order_and_depends_on_the_seed_alone():
    rows = list(range(100))
    drawn = draw(rows, 10, 0)
    assert len(drawn) == 10 and drawn == sorted(drawn) == draw(rows, 10, 0) != draw(rows, 10, 1)
    assert draw(rows, 1000, 0) == rows
