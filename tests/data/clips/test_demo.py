import pytest

from transformers_empathav.checkpoint.wheels import sha256
from transformers_empathav.data.clips.demo import CLIPS, save_demo_clips


def test_six_clips_arrive_whole_and_alone(tmp_path):
    try:
        clips = save_demo_clips(tmp_path / "clips")
    except OSError as error:
        pytest.skip(str(error))
    assert sorted(clips) == ["angry", "disgust", "fearful", "happy", "neutral", "sad"]
    assert {emotion: sha256(path) for emotion, path in clips.items()} == {e: clip.sha256 for e, clip in CLIPS.items()}
    assert sorted((tmp_path / "clips").iterdir()) == sorted(clips.values())
    assert save_demo_clips(tmp_path / "clips") == clips
