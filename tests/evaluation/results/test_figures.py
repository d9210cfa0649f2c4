"""Figures, comparisons and length matching by hand."""

import json

import numpy as np
import pytest

from helpers import assistant, user
from transformers_empathav.evaluation.results.figures import (
    compare_systems,
    differences,
    figures,
    history_table,
    outside,
    rounded,
    write_json,
)
from transformers_empathav.measures.bootstrap import Scores, perplexity
from transformers_empathav.measures.replies import Instruments, length_matched, measure_replies


def replies(*texts):
    return [{"text": text, "cut": False} for text in texts]


GROUPS = [str(index) for index in range(40)]


def test_replies_of_equal_length_differ_by_a_fifth_at_most():
    first = replies("a b c d e", "a b c d e", "a", "", "a b")
    second = replies("a b c d", "a b c", "a", "", "")
    assert length_matched(first, second).tolist() == [0, 2]
    assert length_matched(second, first).tolist() == [0, 2]


def test_every_measure_is_there_and_labels_count_where_they_are():
    table = np.eye(7)
    rows = [
        {"prompt": [user("a")], "completion": [assistant("x y")], "emotion": "sad"},
        {"prompt": [user("b")], "completion": [assistant("z")], "emotion": None},
    ]
    labels = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
    instruments = Instruments(
        labels,
        {name: lambda texts: table[[5 if "x" in text else 3 for text in texts]] for name in ("one", "two")},
        lambda texts: np.ones((len(texts), 2)),
    )
    gold = Scores(np.array([[2.0, 2.0], [1.0, 1.0]]), perplexity)
    found = measure_replies(rows, replies("x y", "q"), instruments, gold)
    assert found["emotion_accuracy (one)"].figure() == 1 and found["emotion_accuracy (two)"].count() == 1
    assert found["emotional_similarity (one)"].figure() == 1 and found[
        "embedding_similarity"
    ].figure() == pytest.approx(1)
    assert found["perplexity"].figure() == pytest.approx(np.e) and found["words"].figure() == 1.5
    assert {"bleu", "rouge1", "rouge2", "rougeL", "meteor", "distinct_1", "distinct_2", "cut"} <= set(found)


def test_figures_have_counts_and_leave_out_what_nobody_counts_for():
    found = figures(
        {"a": Scores.of_values([1, 2, 3], [1, 0, 1]), "b": Scores.of_values([1, 2, 3], [0, 0, 0])}, list("xyz")
    )
    assert set(found) == {"a"} and found["a"]["value"] == 2 and found["a"]["n"] == 2


def test_differences_are_also_relative():
    found = differences({"a": Scores.of_values([3.0] * 40)}, {"a": Scores.of_values([2.0] * 40)}, GROUPS)
    assert found["a"]["relative"] == 0.5 and found["a"]["low"] == found["a"]["high"] == 1


def test_a_gain_by_length_alone_is_gone_among_replies_of_equal_length():
    """One system is longer in half of the contexts, and the measure counts words."""
    short = replies(*["w " * 5] * 40)
    long = replies(*["w " * (10 if index % 2 else 5) for index in range(40)])
    scores = {
        name: {"score": Scores.of_values([len(reply["text"]) for reply in said])}
        for name, said in (("short", short), ("long", long))
    }
    found = compare_systems(scores, {"short": short, "long": long}, "long", GROUPS)
    assert list(found) == ["long - short"]
    pair = found["long - short"]
    assert pair["all"]["score"]["value"] == 5 and pair["all"]["score"]["p"] < 0.01
    assert pair["length_matched"]["score"]["value"] == 0 and pair["length_matched_contexts"] == 20


def test_too_few_replies_of_equal_length_say_nothing():
    said = {"a": replies(*["w"] * 19), "b": replies(*["w"] * 19)}
    scores = {name: {"score": Scores.of_values([1.0] * 19)} for name in said}
    assert compare_systems(scores, said, "b", GROUPS[:19])["b - a"]["length_matched"] is None


def test_a_history_is_compared_with_the_full_prompt_and_the_memory_with_all():
    nats = {"none": 3.0, "own": 2.1, "full": 2.0}
    scores = {name: Scores(np.array([[value, 1.0]] * 40), perplexity) for name, value in nats.items()}
    found = history_table(scores, GROUPS)
    assert found["variants"]["own"]["value"] == pytest.approx(np.exp(2.1), rel=1e-5)
    assert found["variants"]["own"]["above_full"]["value"] == pytest.approx(np.exp(0.1) - 1, rel=1e-5)
    assert found["differences"]["own - none"]["value"] == pytest.approx(np.exp(2.1) - np.exp(3), rel=1e-5)
    assert set(found["differences"]) == {"own - none", "own - full"}


def test_figures_outside_of_anothers_intervals_are_listed():
    def results(value, other):
        own = {"value": value, "low": value - 1, "high": value + 1, "n": 3}
        return {"systems": {"a": {"words": own, "p": 0.1}}, "history": [{"own": {**own, "value": other}}], "seed": 0}

    assert outside(results(2, 2), results(2.5, 2.5)) == ([], 2)
    lines, count = outside(results(2, 9), results(4, 8))
    assert lines == ["systems, a, words: 2, not 3 to 5", "history, 0, own: 9, not 3 to 5"] and count == 2
    assert outside({"systems": {}}, results(2, 2)) == ([], 0)


def test_numbers_are_rounded_and_nothing_is_no_number(tmp_path):
    assert rounded({"a": 0.123456789, "b": float("nan"), "n": 3, "p": 1e-9}) == {"a": 0.123457, "n": 3, "p": 1e-9}
    write_json(tmp_path / "deep" / "a.json", {"b": 1, "a": [2.5]})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"b": 1, "a": [2.5]}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]
