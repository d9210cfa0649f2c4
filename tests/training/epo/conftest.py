"""Pairs that all tests of EPO train on."""

import pytest

from clips import write_clip
from pairs import mixed_pairs


@pytest.fixture
def rows(tmp_path):
    """Pairs of text, clips, history and all of them, as Arrow holds them."""
    write_clip(tmp_path / "clip.mp4", seconds=0.5, size=(64, 64))
    write_clip(tmp_path / "voice.wav", seconds=0.5, fps=None, audio_codec="pcm_s16le", frequency=700.0)
    paths = {"b": {"type": "video", "path": str(tmp_path / "clip.mp4")}}
    paths["c"] = {"type": "audio", "path": str(tmp_path / "voice.wav")}
    found = mixed_pairs(with_numbers=True)
    for row in found:
        content = row["prompt"][-1]["content"]
        if content[0]["type"] != "text":
            content[0] = paths[row["id"]]
    return found
