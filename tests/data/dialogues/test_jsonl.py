"""Conversations of your own, as JSON lines."""

import json

import pytest

from transformers_empathav.data.dialogues.jsonl import load_jsonl


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n{broken\n")
    with pytest.raises(ValueError, match="line 2 is no conversation"):
        load_jsonl(path)


def test_a_conversation_has_an_id(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"messages": []}\n{"id": "b", "messages": []}\n')
    assert [item["id"] for item in load_jsonl(path)] == ["mine-1", "b"]
