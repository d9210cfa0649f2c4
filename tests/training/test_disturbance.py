"""Augmentation of sound: noise as loud as it says, and another speed."""

import numpy as np
import pytest

from helpers import sound
from transformers_empathav.training.disturbance import Disturbance, add_noise, through_a_line


def test_noise_has_the_ratio_that_was_asked_for():
    wave = sound(1, seconds=2.0)
    for snr, tilt in ((20.0, 0.0), (0.0, 1.0)):
        noise = add_noise(wave, snr, np.random.default_rng(0), tilt) - wave
        assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert not add_noise(np.zeros(100, np.float32), 10.0, np.random.default_rng(0)).any()


def test_speed_moves_pitch_and_length():
    fast = [Disturbance(min_snr=90, max_snr=90)(sound(1), 16000, seed) for seed in range(4)]
    assert len({len(wave) for wave in fast}) > 1 and all(0.9 < len(wave) / 16000 < 1.12 for wave in fast)


def test_a_line_cuts_tilts_and_amplifies():
    wave = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    power = {}
    for name, settings in {"as it was": (8000.0, 0.0, 0.0), "line": (4000.0, 6.0, 2.0)}.items():
        spectrum = np.abs(np.fft.rfft(through_a_line(wave, 16000, *settings))) ** 2
        power[name] = {
            pitch: 10 * np.log10(spectrum[pitch - 50 : pitch + 50].mean()) for pitch in (500, 1000, 2000, 5000)
        }
    gained = {pitch: power["line"][pitch] - power["as it was"][pitch] for pitch in power["line"]}
    assert [gained[pitch] for pitch in (500, 1000, 2000)] == pytest.approx([4.0, 6.0, 8.0], abs=0.3)
    assert gained[5000] < -60


def test_a_band_is_drawn_for_each_clip_and_its_own_seed():
    lines = Disturbance(min_snr=90, max_snr=90, max_speed=0.0, bands=(2000.0, 8000.0), max_gain=6.0)
    wave = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    heard = [lines(wave, 16000, seed) for seed in range(8)]
    high = [np.abs(np.fft.rfft(one))[2000:].mean() for one in heard]
    assert 0 < sum(level < 1e-2 * max(high) for level in high) < 8
    assert np.array_equal(lines(wave, 16000, 3), heard[3])
