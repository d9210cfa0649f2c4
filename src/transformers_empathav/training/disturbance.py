"""Augmentation of sound before it is encoded: noise and another speed."""

from dataclasses import dataclass

import numpy as np

from ..processing.media_sound_empathav import resample


@dataclass(frozen=True)
class Disturbance:
    r"""
    Adds noise to sound, plays it at another speed and sends it through another line. The same seed gives the same
    result.

    Args:
        min_snr, max_snr (`float`): Bounds of the ratio of signal to noise, in dB; the noise is white to pink.
        max_speed (`float`): 0.1 plays a clip up to a tenth faster or slower, which moves its pitch too.
        bands (`tuple[float, ...]`):
            Frequencies, in Hz, of which one is drawn: nothing above it is left. Corpora are stored at different rates,
            and a wide band must not tell them apart. None leaves the band as it is.
        max_gain (`float`): 6 makes a clip up to 6 dB louder or quieter.
        max_tilt (`float`): 2 raises or lowers each octave by up to 2 dB against the one below.
    """

    min_snr: float = 5.0
    max_snr: float = 30.0
    max_speed: float = 0.1
    bands: tuple[float, ...] = ()
    max_gain: float = 0.0
    max_tilt: float = 0.0

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
        audio = add_noise(audio, snr, rng, tilt)
        if self.bands or self.max_gain or self.max_tilt:
            band = rng.choice(self.bands) if self.bands else sampling_rate / 2
            gain, slope = rng.uniform(-self.max_gain, self.max_gain), rng.uniform(-self.max_tilt, self.max_tilt)
            audio = through_a_line(audio, sampling_rate, band, gain, slope)
        return audio


def through_a_line(audio: np.ndarray, sampling_rate: int, band: float, gain: float, slope: float) -> np.ndarray:
    """Cuts off what lies above `band` Hz, tilts the rest by `slope` dB an octave around 1 kHz, and adds `gain` dB."""
    spectrum, pitch = np.fft.rfft(audio), np.fft.rfftfreq(len(audio), 1 / sampling_rate)
    spectrum *= 10 ** ((gain + slope * np.log2(np.maximum(pitch, 50.0) / 1000)) / 20) * (pitch <= band)
    return np.fft.irfft(spectrum, n=len(audio)).astype(np.float32)


def add_noise(audio: np.ndarray, snr: float, rng: np.random.Generator, tilt: float = 0.0) -> np.ndarray:
    """Adds noise `snr` dB below the mean power of `audio`; `tilt` 0 is white, 1 is pink. Silence stays silent."""
    spectrum = np.fft.rfft(rng.standard_normal(len(audio)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (tilt / 2)
    noise = np.fft.irfft(spectrum, n=len(audio))
    power = np.mean(np.square(audio, dtype=np.float64)) / max(np.mean(noise**2), 1e-12)
    return (audio + noise * np.sqrt(power * 10 ** (-snr / 10))).astype(np.float32)
