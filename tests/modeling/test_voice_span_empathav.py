"""Where the voice is: silence around it is cut off, in it is kept, and a silent clip stays silent."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from helpers import sound
from transformers_empathav.modeling.voice_span_empathav import MARGIN, voice_alone


RATE = 16000


@pytest.fixture(scope="module")
def listen():
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=4)

    def features(*waves):
        found = extractor(list(waves), sampling_rate=RATE, return_attention_mask=True, return_tensors="pt")
        return found["input_features"], found["attention_mask"]

    return features


def hush(seconds):
    return np.random.default_rng(0).normal(scale=1e-3, size=int(seconds * RATE)).astype(np.float32)


def test_what_is_left_is_the_voice(listen):
    voice = sound(1, seconds=1.0)
    features, mask = listen(np.concatenate([hush(0.7), voice, hush(1.1)]), voice)
    found, kept = voice_alone(features, mask)
    assert kept.sum(dim=1).tolist() == pytest.approx([100 + 2 * MARGIN, 100], abs=8)
    shift = next(at for at in range(70 - 2 * MARGIN, 71) if torch.equal(features[0, :, at], found[0, :, 0]))
    assert torch.equal(features[0, :, shift : shift + 90], found[0, :, :90])


def test_silence_between_words_stays(listen):
    wave = np.concatenate([hush(0.5), sound(1, seconds=0.5), hush(0.8), sound(2, seconds=0.5), hush(0.5)])
    _, kept = voice_alone(*listen(wave))
    assert int(kept.sum()) == pytest.approx(180 + 2 * MARGIN, abs=8)


def test_the_voice_alone_has_nothing_more_to_cut(listen):
    once = voice_alone(*listen(np.concatenate([hush(0.4), sound(3, seconds=0.9), hush(0.9)]), sound(4, seconds=0.3)))
    again = voice_alone(*once)
    for clip in range(2):
        length = int(once[1][clip].sum())
        assert torch.equal(again[1][clip], once[1][clip])
        assert torch.equal(again[0][clip, :, :length], once[0][clip, :, :length])


def test_even_sound_stays_whole_and_padding_stays_out(listen):
    features, mask = listen(hush(1.0), sound(1, seconds=2.0))
    _, kept = voice_alone(features, mask)
    assert kept.sum(dim=1).tolist() == mask.sum(dim=1).tolist()
    nothing = voice_alone(features, torch.zeros_like(mask))
    assert not nothing[1].any() and torch.isfinite(nothing[0]).all()
