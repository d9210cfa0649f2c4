"""RAVDESS by its names: fields, song, and the emotion that is not among the seven."""

import pytest

from clips import only_message, touch
from transformers_empathav.data.clips.ravdess import load_ravdess


def test_ravdess_by_its_names(tmp_path, caplog):
    touch(
        tmp_path, "Actor_12/03-01-05-02-02-01-12.wav", "01-01-08-01-01-02-03.mp4", "03-02-03-01-01-01-01.wav", "a.wav"
    )
    video, sound = load_ravdess(tmp_path)
    assert "2 files" in caplog.text and "left out" in caplog.text
    assert only_message(sound) == {
        "role": "user",
        "speaker": "actor12",
        "emotion": "angry",
        "content": [
            {"type": "audio", "path": str(tmp_path / "Actor_12/03-01-05-02-02-01-12.wav")},
            {"type": "text", "text": "Dogs are sitting by the door."},
        ],
    }
    assert only_message(video)["emotion"] == "surprised" and only_message(video)["content"][0]["type"] == "video"


def test_calm_is_not_one_of_the_seven_and_is_never_guessed(tmp_path):
    touch(tmp_path, "03-01-02-01-01-01-01.wav", "03-01-03-01-01-01-01.wav")
    with pytest.raises(ValueError, match="'calm', which is none of .*label_map"):
        load_ravdess(tmp_path)
    assert [only_message(item)["emotion"] for item in load_ravdess(tmp_path, {"calm": "neutral"})] == [
        "neutral",
        "happy",
    ]
    assert [only_message(item)["emotion"] for item in load_ravdess(tmp_path, {"calm": None})] == ["happy"]
