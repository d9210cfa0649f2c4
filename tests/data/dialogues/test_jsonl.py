"""Conversations of your own, as JSON lines: what a line may hold, and which split it is in."""

import json

import pytest

from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.jsonl import load_jsonl


NAMELESS = '{"messages": [{"content": "Hi"}]}'


def lines(path, conversations):
    path.write_text("".join(json.dumps(conversation) + "\n" for conversation in conversations))
    return str(path)


def talk(name, **fields):
    return {"id": name, "messages": [{"role": "user", "content": "Hi"}], **fields}


def ids(path, split):
    return [conversation["id"] for conversation in load_corpus(path, split)]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    for broken in ("{broken", '{"messages": ["Hi"]}', '{"messages": [{"role": "user"}]}', NAMELESS):
        path.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}) + f"\n{broken}\n")
        with pytest.raises(ValueError, match="line 2 is no conversation"):
            load_jsonl(path)


def test_a_conversation_has_an_id(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"messages": []}\n{"id": "b", "messages": []}\n')
    assert [item["id"] for item in load_jsonl(path)] == ["mine-1", "b"]


def test_clips_are_found_from_the_file_and_emotions_by_usual_names(tmp_path):
    content = [{"type": "video", "path": "clips/a.mp4"}, {"type": "text", "text": "Hi"}]
    said = talk("a", split="train", messages=[{"role": "user", "content": content, "emotion": "Joy"}])
    ((message,),) = (one["messages"] for one in load_corpus(lines(tmp_path / "mine.jsonl", [said]), "train"))
    assert message["content"][0]["path"] == str(tmp_path / "clips/a.mp4") and message["emotion"] == "happy"
    said["messages"][0]["emotion"] = "bored"
    with pytest.raises(ValueError, match="a has the emotion 'bored'"):
        load_corpus(lines(tmp_path / "mine.jsonl", [said]), "train")


def test_without_splits_a_tenth_is_held_out_by_ids_and_said(tmp_path, caplog):
    path = lines(tmp_path / "mine.jsonl", [talk(f"talk {number}") for number in range(300)])
    train, dev = ids(path, "train"), ids(path, "dev")
    assert 15 <= len(dev) <= 45 and sorted(train + dev) == sorted(f"talk {number}" for number in range(300))
    assert f"{len(dev)} of its 300 conversations are held out as dev" in caplog.text
    other = lines(tmp_path / "more.jsonl", [talk(f"talk {number}") for number in range(300, -1, -1)])
    assert set(dev) <= set(ids(other, "dev"))  # neither order nor further conversations change it


def test_of_a_few_conversations_one_is_held_out_and_of_one_none(tmp_path):
    path = lines(tmp_path / "mine.jsonl", [talk("a"), talk(7), talk("a")])
    assert sorted(ids(path, "train") + ids(path, "dev")) == ["7", "a", "a"] and ids(path, "dev")
    path = lines(tmp_path / "one.jsonl", [talk("a"), talk("a")])
    assert (ids(path, "train"), ids(path, "dev")) == (["a", "a"], [])


def test_lines_may_say_their_split(tmp_path):
    path = lines(tmp_path / "mine.jsonl", [talk("a", split="dev"), talk("b", split="train"), talk("c", split="dev")])
    assert (ids(path, "train"), ids(path, "dev"), ids(path, "test")) == (["b"], ["a", "c"], [])
    for other in ({}, {"split": "valid"}):
        path = lines(tmp_path / "half.jsonl", [talk("a", split="dev"), talk("b", **other)])
        with pytest.raises(ValueError, match="b has the split .*: write train, dev, test on each line"):
            load_corpus(path, "train")
