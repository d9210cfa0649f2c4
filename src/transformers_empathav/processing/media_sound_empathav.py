"""Decodes sound: the track and the channels that carry something, as mono samples of one rate."""

from dataclasses import dataclass, field

import numpy as np

from .media_limits_empathav import MediaError
from .media_packets_empathav import decode_all


SILENT = "its sound is digital silence (was it muted?), which counts as no sound."
_GAP = 0.1  # longest gap in the sound, in seconds, that is not filled with silence
_SILENCE = 2.5 / 2**15  # digital silence stays within this, dithered to 16 bits too
_OFFSET = 0.02  # and so does silence that lies beside zero, as some 8-bit recorders write it
_CARRIES = 1e-4  # power of a channel, relative to the loudest one, below which it carries nothing (-40 dB)
_KEPT = 0.9  # power of the sum of all channels, relative to the loudest one, below which they cancel each other
_SAME = 1.25  # ratio of power by which another track has to be louder than the file's first choice (1 dB)


@dataclass
class Loudness:
    """Sums over the samples of a sound, from which the power of each channel and of their sum follows."""

    count: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0))  # of each channel and, last, of their sum
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    changes: bool = False  # whether the number of channels changes

    def add(self, channels):
        """Count in floats of shape `(channels, samples)`."""
        rows = np.concatenate([channels, channels.sum(axis=0, keepdims=True)])
        if self.count and len(rows) != len(self.sums):
            self.changes = True
            return
        with np.errstate(invalid="ignore", over="ignore"):
            sums, squares = rows.sum(axis=1, dtype=np.float64), np.einsum("cs,cs->c", rows, rows, dtype=np.float64)
        self.sums, self.squares = (self.sums + sums, self.squares + squares) if self.count else (sums, squares)
        self.count += rows.shape[1]

    @property
    def powers(self):
        """Power of each channel and, last, of their sum, without its constant part."""
        if self.count == 0:
            return np.zeros(2)
        with np.errstate(invalid="ignore", over="ignore"):
            return np.maximum(self.squares / self.count - (self.sums / self.count) ** 2, 0.0)

    def weights(self):
        """
        How the channels are to be mixed.

        Returns:
            `tuple[np.ndarray | None, str]`: a weight for each channel, `None` for their mean; and why it is not the
                mean, for a warning.
        """
        *powers, together = self.powers
        loudest = int(np.argmax(powers))
        if self.changes or len(powers) < 2 or not powers[loudest] > 0:
            return None, ""
        if together < _KEPT * powers[loudest]:
            weights = np.eye(len(powers), dtype=np.float32)[loudest]
            return weights, f"its channels cancel each other, so channel {loudest + 1}, the loudest, is read alone."
        carrying = np.array(powers) > _CARRIES * powers[loudest]
        if carrying.all():
            return None, ""
        named = ", ".join(str(channel + 1) for channel in np.flatnonzero(~carrying))
        weights = (carrying / carrying.sum()).astype(np.float32)
        return weights, f"nothing is heard on channel {named} of {len(powers)}, so only the others are read."


@dataclass
class Track:
    """A decoded sound track: mono samples, their rate, the second at which they start, and how loud it is."""

    mono: np.ndarray
    rate: int
    begin: float | None
    loudness: Loudness


def read_sound(source, tracks, sampling_rate):
    """
    Decode the loudest sound track. Of its channels the mean is taken, without those that carry nothing; of channels
    that cancel each other the loudest one.

    Args:
        source (`Source`): The source.
        tracks (`list[tuple[av.AudioStream, list[av.Packet]]]`): Tracks with their packets; the file's first choice
            comes first.
        sampling_rate (`int`): Sampling rate of the sound returned, in Hz.

    Returns:
        `tuple[np.ndarray, float | None]`: mono sound, and the second of the file at which it starts (`None` without
            samples).
    """
    chosen, position, error = None, 0, None
    for number, (stream, packets) in enumerate(tracks, 1):
        try:
            track = _decode(source, stream, packets)
        except MediaError as fault:
            error = error or fault
            continue
        if chosen is None or track.loudness.powers[:-1].max() > _SAME * chosen.loudness.powers[:-1].max():
            chosen, position = track, number
    if chosen is None:
        raise error
    if len(tracks) > 1:
        stream = tracks[position - 1][0]
        source.warn(
            f"it has {len(tracks)} sound tracks; stream {stream.index}, the loudest, is read and the others are not."
        )
    weights, reason = chosen.loudness.weights()
    if weights is not None:
        source.warn(reason)
        chosen = _decode(source, *tracks[position - 1], weights)
    return resample(source.name, chosen.mono, chosen.rate, sampling_rate), chosen.begin


def _decode(source, stream, packets, weights=None):
    """Decode a track and mix its channels by `weights`. Packets that do not decode become silence."""
    stream.codec_context.flush_buffers()
    pieces, rate, begin, count, frame, loudness = [np.zeros(0, np.float32)], 1, None, 0, None, Loudness()
    least = _GAP
    for decoded in decode_all(source, stream, packets):
        if decoded is None:
            least = 0.0  # what is lost was there, however short
            continue
        frame = decoded
        now = frame.time or 0.0
        if begin is None:
            rate, begin = frame.sample_rate, now
            source.check(rate, "Hz", "max_sampling_rate")
        if frame.sample_rate != rate:
            raise source.error(f"its sampling rate changes at second {now:.2f}; convert it to one rate.")
        gap = round((now - begin) * rate) - count
        gap = gap if frame.time is not None and gap > least * rate else 0
        least = _GAP
        count += gap + frame.samples
        source.check(count / rate, "s long", "max_seconds")
        source.check(count * frame.layout.nb_channels, "samples over all channels", "max_samples")
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, frame.layout.nb_channels).T
        samples = as_floats(samples)
        if weights is None:
            loudness.add(samples)
        pieces += [np.zeros(gap, np.float32), to_mono(samples, weights)]
    mono = np.concatenate(pieces)
    last = next((packet for packet in reversed(packets) if packet.size), None)
    if begin is not None and last.pts is not None and last.duration and last.time_base * rate <= 1:
        padding = count - round((float((last.pts + last.duration) * last.time_base) - begin) * rate)
        if 0 < padding < frame.samples:  # the codec has filled up its last frame
            mono = mono[:-padding]
    return Track(mono, rate, begin, loudness)


def as_floats(channels):
    """Samples as float32 or float64: those in [-1, 1] as they are, integers scaled from their full range to it."""
    dtype = channels.dtype
    if dtype.kind == "f":
        return channels.astype(np.float32 if dtype.itemsize <= 4 else np.float64, copy=False)
    half = 1 << (8 * dtype.itemsize - 1)
    if dtype.kind == "u":  # silence is in the middle
        channels = (channels ^ dtype.type(half)).view(f"i{dtype.itemsize}")
    floats = channels.astype(np.float32)
    floats /= half
    return floats


def to_mono(channels, weights=None):
    """
    Mix channels down by their mean, or by `weights`.

    Args:
        channels (`np.ndarray` of shape `(channels, samples)`): Floats in [-1, 1].
        weights (`np.ndarray` of shape `(channels,)`, *optional*): Weight of each channel.

    Returns:
        `np.ndarray` of shape `(samples,)`: float32 in [-1, 1].
    """
    with np.errstate(invalid="ignore", over="ignore"):
        mono = channels.mean(axis=0) if weights is None or len(weights) != len(channels) else weights @ channels
    return mono.astype(np.float32, copy=False)


def is_silent(mono):
    """Whether sound is digital silence: what a muted microphone or an empty track gives."""
    if mono.size == 0:
        return True
    return is_flat(mono) and max(-float(mono.min()), float(mono.max())) <= _OFFSET


def is_flat(floats):
    """Whether samples stay within what counts as silence, wherever that lies."""
    return float(floats.max()) - float(floats.min()) <= 2 * _SILENCE


def resample(name, mono, rate, sampling_rate):
    """Resample mono sound from `rate` to `sampling_rate`, in Hz. NaN and infinity raise a [`MediaError`]."""
    if not np.isfinite(mono).all():
        raise MediaError(f"{name}: its sound holds NaN or infinite samples; repair it, e.g. with np.nan_to_num.")
    if rate == sampling_rate or mono.size == 0:
        return mono
    try:
        import soxr
    except ImportError as error:
        raise ImportError("Resampling sound needs soxr: pip install soxr") from error
    return soxr.resample(mono, rate, sampling_rate, quality="HQ")
