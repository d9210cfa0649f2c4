"""Which replies are trained on, and the emotion in their prompts: a person's label, else a classifier's."""

import json

import numpy as np
import pytest

from transformers_empathav.training.replies.rows import ReplyArguments, training_rows


TALK = [
    {"role": "user", "content": "I lost my job", "emotion": "sad"},
    {"role": "assistant", "content": "Oh no, I am so sorry", "emotion": "sad"},
    {"role": "user", "content": "Thank you"},
    {"role": "assistant", "content": "Of course"},
]


@pytest.fixture
def talks(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text((json.dumps({"id": "talk", "messages": TALK}) + "\n") * 2)
    return str(path)


def happy(texts):
    return np.eye(7)[[3] * len(texts)]


def test_every_answer_is_a_row(talks):
    rows = training_rows(ReplyArguments(), [talks], "train")
    assert [row["id"] for row in rows] == ["talk-1", "talk-3"] * 2
    assert set(rows[0]) == {"id", "prompt", "completion"} and rows[0]["prompt"] == TALK[:1]
    assert len(training_rows(ReplyArguments(), [talks], "train", most=3)) == 3
    assert [row["id"] for row in training_rows(ReplyArguments(min_words=3), [talks], "train")] == ["talk-1"] * 2
    assert training_rows(ReplyArguments(max_turns=1), [talks], "train")[1]["prompt"] == TALK[2:3]


def test_replies_without_an_emotion_are_left_out_where_the_prompt_says_it(talks):
    tagged = training_rows(ReplyArguments(emotion_tags=True), [talks], "train")
    assert [row["id"] for row in tagged] == ["talk-1", "talk-1"]
    assert tagged[0]["prompt"][-1]["content"].startswith("I lost my job\n(Reply")
    assert "[sad]" in tagged[0]["prompt"][-1]["content"]


def test_a_classifier_names_what_no_person_did_and_overrules_nobody(talks):
    arguments = ReplyArguments(emotion_tags=True, tag_scorer="any")
    tagged = training_rows(arguments, [talks], "train", classify=happy)
    said = [(row["id"], row["prompt"][-1]["content"]) for row in tagged]
    assert [name for name, _ in said] == ["talk-1", "talk-3"] * 2
    assert all(("[sad]" if name == "talk-1" else "[happy]") in words for name, words in said)


def test_what_leaves_nothing_or_would_be_ignored_is_refused(talks, tmp_path):
    (tmp_path / "talks.jsonl").write_text(json.dumps({"messages": TALK[2:]}) + "\n")
    with pytest.raises(ValueError, match="no reply to train on.* or a tag_scorer"):
        training_rows(ReplyArguments(emotion_tags=True), [talks], "train")
    with pytest.raises(ValueError, match="set emotion_tags, or leave it out"):
        ReplyArguments(tag_scorer="any")
