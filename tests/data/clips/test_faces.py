"""Pictures of faces as clips: labels, names, and that they are read as any picture is."""

import numpy as np
import pytest

from clips import only_message
from faces import write_faces
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.speaker_splits import speaker_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "somebody.parquet"


def test_a_face_is_a_picture_of_three_equal_channels(path):
    pixels = write_faces(path, 8, size=48)
    items = load_clip_corpus(path)
    assert [only_message(item)["emotion"] for item in items[:3]] == ["angry", "disgust", "fearful"]
    shown = only_message(items[5])["content"][0]
    assert shown["type"] == "video" and (shown["video"][0] == pixels[5][..., None]).all()
    assert shown["video"].shape == (1, 48, 48, 3) and items[5]["id"] == "somebody/face5"
    assert {speaker_of(item) for item in items} == {"somebody"}


def test_emotions_may_be_left_out_or_renamed(path):
    write_faces(path, 14, size=48)
    items = load_clip_corpus(path, {"disgust": None, "fearful": "surprised"})
    emotions = [only_message(item)["emotion"] for item in items]
    assert len(items) == 12 and "fearful" not in emotions and emotions.count("surprised") == 4
    with pytest.raises(ValueError, match="no clips left"):
        load_clip_corpus(path, dict.fromkeys(("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")))


def test_the_processor_reads_it(path, processor):
    write_faces(path, 1, size=48)
    (item,) = load_clip_corpus(path)
    picture = only_message(item)["content"][0]["video"]
    (clip,) = processor.load_clip(picture, "video")
    assert clip.audio is None and all(np.array_equal(frame, picture[0]) for frame in clip.frames)
