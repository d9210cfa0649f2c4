"""Which replies are trained on, and the emotion in their prompts: a person's label, else a classifier's."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.training.replies.rows import ReplyArguments, training_rows, with_clips


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


def test_corpora_are_shared_out_and_a_small_one_repeats(talks, tmp_path):
    other = tmp_path / "other.jsonl"
    lines = [{"id": f"o{number}", "messages": TALK[2:]} for number in range(50)]
    other.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ReplyArguments(corpora=[talks, str(other)], train_rows=40, shares=[3.0, 1.0])
    rows = training_rows(arguments, arguments.corpora, "train", arguments.train_rows)
    assert [row["id"][:4] == "talk" for row in rows] == [True] * 30 + [False] * 10
    counts = [sum(row["id"] == name for row in rows) for name in ("talk-1", "talk-3")]
    assert abs(counts[0] - counts[1]) <= 2 and len({row["id"] for row in rows[30:]}) == 10
    silent = tmp_path / "silent.jsonl"
    silent.write_text(json.dumps({"id": "s", "messages": TALK[:1]}) + "\n")
    arguments = ReplyArguments(corpora=[talks, str(silent)], train_rows=4, shares=[1.0, 1.0])
    with pytest.raises(ValueError, match=r"silent.jsonl \(train\) shall have a share and has no reply"):
        training_rows(arguments, arguments.corpora, "train", 4)
    with pytest.raises(ValueError, match="give numbers from 0 on"):
        ReplyArguments(corpora=[talks, str(silent)], train_rows=4, shares=[-1.0, 1.0])
    for wrong in ({"shares": [1.0, 1.0]}, {"shares": [1.0], "train_rows": 4}):
        with pytest.raises(ValueError, match="give one for each corpus"):
            ReplyArguments(corpora=[talks, str(other)], **wrong)


def test_a_share_of_rows_is_remembered_alone(talks):
    rows = training_rows(ReplyArguments(memory_only=1.0), [talks], "train")
    assert all(row["recent_turns"] == 1 for row in rows)
    assert not any("recent_turns" in row for row in training_rows(ReplyArguments(), [talks], "train"))


def test_labelled_messages_get_clips_of_their_emotion(tmp_path):
    clips = tmp_path / "clips.jsonl"
    part = [{"type": "audio", "path": str(tmp_path / f"{label}.wav")} for label in EMOTION_LABELS]
    for source in part:
        Path(source["path"]).touch()
    clips.write_text(
        "".join(
            json.dumps({"id": label, "messages": [{"role": "user", "emotion": label, "content": [one]}]}) + "\n"
            for label, one in zip(EMOTION_LABELS, part)
        )
    )
    arguments = ReplyArguments(corpora=["voiced"], clips=[str(clips)], clip_share=0.0)
    for row in training_rows(arguments, ["voiced"], "train"):
        clip, words = row["prompt"][-1]["content"]
        assert Path(clip["path"]).stem == row["prompt"][-1]["emotion"] and words["type"] == "text"
    with pytest.raises(ValueError, match="words that only a clip makes plain.* under clips"):
        training_rows(ReplyArguments(corpora=["voiced"]), ["voiced"], "train")
    own = [{"type": "audio", "path": str(tmp_path / "own.wav")}, {"type": "text", "text": "I lost it"}]
    row = {"id": "a", "prompt": [{"role": "user", "emotion": "sad", "content": own}]}
    assert with_clips([row], [str(clips)], 1.0, random.Random(0)) == [row]  # nobody's own clip is replaced
