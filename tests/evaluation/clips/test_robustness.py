import json

import numpy as np
import pytest

from transformers_empathav.evaluation.clips.robustness import (
    noisy,
    with_dropped_frames,
    without_a_face,
    without_half_the_sound,
    write_robustness,
)
from transformers_empathav.processing.media_empathav import Clip


def clip():
    rng = np.random.default_rng(0)
    audio = np.sin(np.arange(8000) / 7).astype(np.float32)
    return Clip(audio, rng.integers(0, 255, (8, 6, 6, 3)).astype(np.uint8), 0.0, 0.5)


def test_noise_is_as_loud_as_it_says_and_the_clip_stays():
    for snr in (20.0, 0.0):
        whole = clip()
        added = noisy(whole, snr, np.random.default_rng(1)).audio - whole.audio
        ratio = 10 * np.log10(np.mean(whole.audio**2) / np.mean(added**2))
        assert abs(ratio - snr) < 0.1
        assert np.array_equal(whole.audio, clip().audio)


def test_half_of_the_sound_is_silent():
    audio = without_half_the_sound(clip(), np.random.default_rng(0)).audio
    first, second = audio[:4000], audio[4000:]
    assert (first == 0).all() != (second == 0).all()
    kept = slice(0, 4000) if (second == 0).all() else slice(4000, None)
    assert np.array_equal(audio[kept], clip().audio[kept])


def test_a_dropped_frame_shows_the_one_before():
    whole = clip().frames
    frames = with_dropped_frames(clip(), 0.5, np.random.default_rng(0)).frames
    assert frames.shape == whole.shape and np.array_equal(frames[0], whole[0])
    repeated = [index for index in range(1, 8) if np.array_equal(frames[index], frames[index - 1])]
    assert repeated and all(
        np.array_equal(frames[index], whole[index]) for index in range(1, 8) if index not in repeated
    )


def test_without_a_face_a_frame_is_as_bright():
    frames = without_a_face(clip(), np.random.default_rng(0)).frames
    assert not np.array_equal(frames, clip().frames)
    assert np.array_equal(np.sort(frames, axis=None), np.sort(clip().frames, axis=None))


def test_the_table_is_over_the_clips_of_all_folds(tmp_path):
    right, wrong = np.eye(2)[[0, 1]], np.eye(2)[[1, 0]]
    folds = [
        {"clean": {"": right}, "noise": {"0 dB": wrong}, "frames": {"no face": right}},
        {"clean": {"": right}, "noise": {"0 dB": right}},
    ]
    text = write_robustness(tmp_path, [0, 1, 0, 1], folds)
    found = json.loads((tmp_path / "robustness.json").read_text())
    assert found["clips"] == 4 and set(found["table"]) == {"clean", "noise"}  # not every fold had frames
    assert found["table"]["clean"][""]["uar"] == 1.0
    assert found["table"]["noise"]["0 dB"]["accuracy"] == pytest.approx(0.5)
    assert "| noise 0 dB | 0.500 | 0.500 |" in text == (tmp_path / "robustness.md").read_text()
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
