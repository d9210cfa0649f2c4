"""Clips for messages that have none: the right emotion, and no word lost."""

from transformers_empathav.data.clips.pairing import by_emotion, with_clip


PART = {"type": "audio", "path": "a.wav"}


def clip(name, emotion):
    return {"id": name, "messages": [{"role": "user", "emotion": emotion, "content": [PART]}]}


def test_clips_are_found_by_their_emotion():
    clips = [clip("a", "sad"), clip("b", "happy"), clip("c", "sad")]
    found = by_emotion(clips)
    assert {name: [one["id"] for one in some] for name, some in found.items()} == {"sad": ["a", "c"], "happy": ["b"]}
    assert by_emotion([]) == {}


def test_the_last_message_gets_the_clip_and_keeps_its_words():
    row = {
        "id": "a",
        "prompt": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Bye", "emotion": "sad"}],
    }
    words = {"type": "text", "text": "Bye"}
    assert with_clip(row, PART)["prompt"] == [row["prompt"][0], {**row["prompt"][1], "content": [PART, words]}]
    assert with_clip(row, None)["prompt"][-1]["content"] == [words]
    assert row["prompt"][-1]["content"] == "Bye"
