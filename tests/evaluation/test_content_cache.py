"""The cache: keys by content, lines only added, and what a kill leaves."""

import numpy as np
import pytest
import torch

from transformers_empathav.evaluation.content_cache import ContentCache, content_key


def test_a_key_is_of_the_content_alone():
    assert content_key({"a": 1, "b": [2.5, None]}) == content_key({"b": [2.5, None], "a": 1})
    assert content_key(torch.tensor([0, 2, 4])) == content_key(torch.arange(6)[::2])
    assert content_key(torch.ones(2, dtype=torch.bfloat16)) == content_key(torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        (["ab", "c"], ["a", "bc"]),
        ([["a"], "b"], ["a", ["b"]]),
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "c": 2}}),
        (1, "1"),
    ],
)
def test_different_content_has_different_keys(first, second):
    assert content_key(first) != content_key(second)


def test_what_was_added_is_there_after_opening_again(tmp_path):
    cache = ContentCache(tmp_path / "deep" / "cache.jsonl")
    cache.add({"a": {"text": "é"}, "b": 1.5})
    cache.add({"a": "later", "c": None})
    again = ContentCache(cache.path)
    assert (again["a"], again["b"], again["c"], len(again)) == ({"text": "é"}, 1.5, None, 3)
    assert len(cache.path.read_text().splitlines()) == 3


def test_a_torn_last_line_is_taken_off_and_the_rest_kept(tmp_path):
    cache = ContentCache(tmp_path / "cache.jsonl")
    cache.add({"a": 1, "b": 2})
    cache.path.write_bytes(cache.path.read_bytes()[:-4])
    again = ContentCache(cache.path)
    assert "b" not in again and again["a"] == 1
    again.add({"b": 3})
    assert ContentCache(cache.path)["b"] == 3


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "cache.jsonl").write_text('{"key": "a", "value": 1}\nnonsense\n{"key": "b", "value": 1}\n')
    with pytest.raises(ValueError, match="line 2"):
        ContentCache(tmp_path / "cache.jsonl")


def test_a_number_that_is_none_is_refused(tmp_path):
    cache = ContentCache(tmp_path / "cache.jsonl")
    with pytest.raises(ValueError):
        cache.add({"a": float("nan")})


def test_values_are_computed_in_the_same_batches_whatever_is_there(tmp_path):
    keys, lengths, asked = ["a", "b", "c", "d", "e"], [5, 1, 4, 2, 3], []

    def compute(rows):
        asked.append(rows)
        return [f"{keys[row]} of {len(rows)}" for row in rows]

    cache = ContentCache(tmp_path / "cache.jsonl")
    cache.add({"c": "there before"})
    found = cache.values_of(keys, lengths, compute, 2, "letters")
    assert asked == [[1, 3], [4, 2], [0]]  # by length; the second batch is computed for "e" alone
    assert found == ["a of 1", "b of 2", "there before", "d of 2", "e of 2"]
    assert ContentCache(cache.path).values_of(keys, lengths, None, 2, "letters") == found
