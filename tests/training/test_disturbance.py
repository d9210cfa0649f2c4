"""Augmentation of sound: noise as loud as it says, and another speed."""

import numpy as np
import pytest

from helpers import sound
from transformers_empathav.training.disturbance import Disturbance, add_noise


def test_noise_has_the_ratio_that_was_asked_for():
    wave = sound(1, seconds=2.0)
    for snr, tilt in ((20.0, 0.0), (0.0, 1.0)):
        noise = add_noise(wave, snr, np.random.default_rng(0), tilt) - wave
        assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert not add_noise(np.zeros(100, np.float32), 10.0, np.random.default_rng(0)).any()


def test_speed_moves_pitch_and_length():
    fast = [Disturbance(min_snr=90, max_snr=90)(sound(1), 16000, seed) for seed in range(4)]
    assert len({len(wave) for wave in fast}) > 1 and all(0.9 < len(wave) / 16000 < 1.12 for wave in fast)
