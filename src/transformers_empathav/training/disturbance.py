"""Augmentation of sound before it is encoded: noise and another speed."""

from dataclasses import dataclass

import numpy as np

from ..processing.media_sound_empathav import resample


@dataclass(frozen=True)
class Disturbance:
    r"""
    Adds noise to sound and plays it at another speed. The same seed gives the same result.

    Args:
        min_snr, max_snr (`float`): Bounds of the ratio of signal to noise, in dB; the noise is white to pink.
        max_speed (`float`): 0.1 plays a clip up to a tenth faster or slower, which moves its pitch too.
    """

    min_snr: float = 5.0
    max_snr: float = 30.0
    max_speed: float = 0.1

    def __call__(self, audio: np.ndarray, sampling_rate: int, seed: int) -> np.ndarray:
        """Sound `(samples,)` to sound `(samples,)` of about the same length."""
        rng = np.random.default_rng(seed)
        speed, snr, tilt = (
            rng.uniform(-self.max_speed, self.max_speed),
            rng.uniform(self.min_snr, self.max_snr),
            rng.random(),
        )
        if self.max_speed and len(audio) > 1:
            audio = resample("the clip", audio, sampling_rate * (1 + speed), sampling_rate)
        return add_noise(audio, snr, rng, tilt)


def add_noise(audio: np.ndarray, snr: float, rng: np.random.Generator, tilt: float = 0.0) -> np.ndarray:
    """Adds noise `snr` dB below the mean power of `audio`; `tilt` 0 is white, 1 is pink. Silence stays silent."""
    spectrum = np.fft.rfft(rng.standard_normal(len(audio)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (tilt / 2)
    noise = np.fft.irfft(spectrum, n=len(audio))
    power = np.mean(np.square(audio, dtype=np.float64)) / max(np.mean(noise**2), 1e-12)
    return (audio + noise * np.sqrt(power * 10 ** (-snr / 10))).astype(np.float32)
