"""Decoded clips to encoder inputs."""

import numpy as np
import pytest

from helpers import frames, sound
from transformers_empathav.processing.face_crop_empathav import Faces
from transformers_empathav.processing.media_empathav import Clip, encode_clips


def encode_all(processor, *clips):
    clips = [Clip(heard, seen, 0.0, 1.0) for heard, seen in clips]
    return encode_clips(clips, processor.feature_extractor, processor.image_processor)


def test_features_are_those_of_the_processors_of_each_stream(processor):
    data = encode_all(processor, (None, frames(1)), (sound(2), frames(3)), (sound(4), None))
    heard = processor.feature_extractor([sound(2), sound(4)], sampling_rate=16000, return_tensors="np")
    assert np.array_equal(data["input_features"][1:], heard["input_features"]) and not data["input_features"][0].any()
    seen = processor.image_processor(images=list(frames(3)), return_tensors="np")["pixel_values"]
    assert np.array_equal(data["pixel_values_videos"][1], seen) and not data["pixel_values_videos"][2].any()
    assert data["audio_mask"].tolist() == [0, 1, 1] and data["video_mask"].tolist() == [1, 1, 0]
    assert data["input_features_mask"].sum(1).tolist() == [0, 100, 100]


def test_a_stream_that_no_clip_has_is_left_out(processor):
    assert "pixel_values_videos" not in encode_all(processor, (sound(1), None))
    assert "input_features" not in encode_all(processor, (None, frames(1)))


def test_frames_of_different_sizes_go_together(processor):
    data = encode_all(processor, (None, frames(1, size=64)), (None, frames(2, size=32)))
    assert data["pixel_values_videos"].shape == (2, 3, 3, 64, 64)


def test_different_numbers_of_frames_are_not_mixed_up(processor):
    with pytest.raises(ValueError, match="2 and 4 frames cannot be mixed"):
        encode_all(processor, (None, frames(1, count=2)), (None, frames(2, count=4)))


@pytest.mark.parametrize("face, counts", [(None, 1), (Faces(people=0), 0), (False, 0), (Faces(people=2), 1)])
def test_frames_in_which_no_face_was_found_do_not_count(processor, face, counts):
    clip = Clip(sound(1), frames(1), 0.0, 1.0, face=face)
    data = encode_clips([clip], processor.feature_extractor, processor.image_processor)
    assert data["video_mask"].tolist() == [counts] and data["audio_mask"].tolist() == [1]
