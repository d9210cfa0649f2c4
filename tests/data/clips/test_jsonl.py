"""JSON lines of labelled clips."""

import json

import pytest

from clips import only_message
from transformers_empathav.data.clips.jsonl import load_clip_lines


def test_lines_of_your_own(tmp_path):
    clip = {"role": "user", "emotion": "joyful", "speaker": "x", "content": [{"type": "audio", "path": "a.wav"}]}
    older = {"role": "assistant", "content": "Hello"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"id": "1", "messages": [older, clip]}))
    (item,) = load_clip_lines(path, {"joyful": "happy"})
    assert only_message(item)["emotion"] == "happy" and only_message(item)["content"][0]["path"] == str(
        tmp_path / "a.wav"
    )
    with pytest.raises(ValueError, match="'joyful'"):
        load_clip_lines(path)
    path.write_text(json.dumps({"id": "1", "messages": [clip, older]}))
    with pytest.raises(ValueError, match="does not end in a user's message with a clip"):
        load_clip_lines(path)
