"""The judge: what it is asked, how its answers are read, and figures by hand."""

import json
import threading

import pytest

from chat_server import chat_server
from helpers import assistant, user
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.raters.judge import (
    JudgeArguments,
    cached_answers,
    judge_pair,
    judge_prompt,
    judge_systems,
    parse_ratings,
)


ROWS = [
    {"id": str(index), "prompt": [user("I lost"), assistant("Oh"), user(f"it {index}")], "completion": []}
    for index in range(4)
]


def said(text):
    return [{"text": f"{text} {index}"} for index in range(4)]


def answer(a, b):
    return json.dumps({"A": dict(zip(("semantics", "empathy"), a)), "B": dict(zip(("semantics", "empathy"), b))})


def test_the_prompt_holds_the_conversation_and_both_replies_without_names():
    text = judge_prompt(ROWS[0], "first reply", "")
    assert "user: I lost\nassistant: Oh\nuser: it 0" in text
    assert "Answer A: first reply" in text and "Answer B: (silence)" in text


@pytest.mark.parametrize(
    ("text", "ratings"),
    [
        (answer((1, 2), (3, 4)), [[1, 2], [3, 4]]),
        ("Sure!\n```json\n" + answer((5, 5), (1, 1)) + "\n```", [[5, 5], [1, 1]]),
        (answer((0, 2), (3, 4)), None),
        (answer((1.5, 2), (3, 4)), None),
        ('{"A": {"semantics": 1, "empathy": 1}}', None),
        ("I cannot.", None),
        ("{", None),
    ],
)
def test_an_answer_is_read_or_refused(text, ratings):
    assert parse_ratings(text) == ratings


def test_a_judge_that_sees_the_reply_agrees_with_itself():
    def fair(prompts):
        return [answer((5, 4), (2, 1)) if "Answer A: good" in prompt else answer((2, 1), (5, 4)) for prompt in prompts]

    found = judge_pair(ROWS, said("good"), said("poor"), list("abcd"), fair)
    assert (found["contexts"], found["unreadable"]) == (4, 0)
    semantics = found["scales"]["semantics"]
    assert (semantics["first"]["value"], semantics["second"]["value"]) == (5, 2)
    assert semantics["difference"]["value"] == 3 and semantics["difference"]["p"] < 0.01
    assert semantics["same_preference"] == 1 and semantics["alpha"] == 1
    assert found["scales"]["empathy"]["difference"]["value"] == 3


def test_a_judge_that_prefers_a_place_is_found_out():
    found = judge_pair(
        ROWS, said("a"), said("b"), list("abcd"), lambda prompts: [answer((5, 3), (1, 3))] * len(prompts)
    )
    semantics = found["scales"]["semantics"]
    assert semantics["difference"]["value"] == 0 and semantics["same_preference"] == 0 and semantics["alpha"] < 0
    assert found["scales"]["empathy"]["alpha"] is None  # one value alone


def test_what_cannot_be_read_is_counted():
    def sometimes(prompts):
        return ["no" if "it 2" in prompt else answer((4, 4), (3, 3)) for prompt in prompts]

    found = judge_pair(ROWS, said("a"), said("b"), list("abcd"), sometimes)
    assert (found["contexts"], found["unreadable"]) == (3, 1)
    nothing = judge_pair(ROWS, said("a"), said("b"), list("abcd"), lambda prompts: ["no"] * len(prompts))
    assert nothing == {"contexts": 0, "unreadable": 4, "scales": {}}


def test_answers_are_asked_once_several_at_a_time_and_kept(tmp_path):
    cache, asked, both = ContentCache(tmp_path / "cache.jsonl"), [], threading.Barrier(2, timeout=10)

    def ask(prompt):
        both.wait()  # one alone would wait for ever
        asked.append(prompt)
        return prompt.upper()

    assert cached_answers(ask, ["a", "b", "a"], cache, "judge", concurrency=2) == ["A", "B", "A"]
    assert cached_answers(None, ["b", "a"], ContentCache(cache.path), "judge") == ["B", "A"]
    assert sorted(asked) == ["a", "b"]


def test_answers_before_a_failure_are_kept(tmp_path):
    cache = ContentCache(tmp_path / "cache.jsonl")

    def ask(prompt):
        if prompt == "c":
            raise ConnectionError("gone")
        return prompt

    with pytest.raises(ConnectionError):
        cached_answers(ask, ["a", "b", "c"], cache, "judge", concurrency=1)
    assert len(ContentCache(cache.path)) == 2


def test_the_last_system_is_judged_against_each_other_and_asked_once(tmp_path, monkeypatch):
    def rates(number, body):
        good = "Answer A: good" in body["messages"][0]["content"]
        message = {"role": "assistant", "content": answer((5, 4), (2, 1)) if good else answer((2, 1), (5, 4))}
        return 200, {}, json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    monkeypatch.setenv("JUDGE_API_KEY", "secret")
    rows = [{**row, "conversation": row["id"]} for row in ROWS]
    replies = {name: said(name) for name in ("poor", "worse", "good")}
    cache = ContentCache(tmp_path / "cache.jsonl")
    with chat_server(rates) as server:
        arguments = JudgeArguments(server.url, "tiny", judge_contexts=3)
        found = judge_systems(arguments, rows, replies, cache, seed=5)
        assert len(server.bodies) == 2 * 2 * 3 and set(server.keys) == {"Bearer secret"}
        assert {(body["temperature"], body["seed"]) for body in server.bodies} == {(0, 5)}
        assert judge_systems(arguments, rows, replies, cache, seed=5) == found and len(server.bodies) == 12
    assert found["judge"] == "tiny" and list(found["pairs"]) == ["good - poor", "good - worse"]
    for pair in found["pairs"].values():
        assert pair["contexts"] == 3 and pair["scales"]["semantics"]["difference"]["value"] == 3


def test_an_endpoint_without_a_model_is_refused():
    with pytest.raises(ValueError, match="needs --judge_model"):
        JudgeArguments("http://127.0.0.1/v1")
