"""Limits on media, and the one place where whatever goes wrong with a source becomes a `MediaError` that names it."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from transformers.utils import logging


logger = logging.get_logger(__name__)

_FREE_PIXELS = 2 * 10**9  # decoded pixels that `max_pixels_per_byte` does not count
_LONGEST_NAME = 200


class MediaError(ValueError):
    """Raised if a source cannot be used as requested; the message says why and what to do."""


class MissingMediaError(MediaError, FileNotFoundError):
    """Raised if there is no file at a path."""


@dataclass(frozen=True)
class MediaLimits:
    """
    Limits on one media source. A source beyond them raises a [`MediaError`], before decoding where its header
    suffices.

    Args:
        max_seconds (`float`, *optional*, defaults to 300.0): Length in seconds.
        max_frames (`int`, *optional*, defaults to 36000):
            Frames of the video track, used or not (300 s at 120 frames per second).
        max_pixels (`int`, *optional*, defaults to 33177600): Pixels of one frame (7680x4320).
        max_total_pixels (`int`, *optional*, defaults to 20000000000):
            Pixels of all frames that have to be decoded (300 s of 1920x1080 at 30 frames per second are 18.7e9).
        max_pixels_per_byte (`int`, *optional*, defaults to 250000):
            The same per byte of the source, as far as they exceed 2e9: a small file that decodes for minutes is no
            recording.
        max_sampling_rate (`int`, *optional*, defaults to 768000): Sampling rate of sound, in Hz.
        max_samples (`int`, *optional*, defaults to 115200000):
            Samples of a sound track over all its channels (300 s of stereo at 192 kHz).
        max_bytes (`int`, *optional*, defaults to 536870912): Bytes of the source, compressed or as an array (512 MiB).
        max_decode_seconds (`float`, *optional*, defaults to 15.0): Time that reading and decoding a source may take.
        max_fetch_seconds (`float`, *optional*, defaults to 30.0):
            Time that fetching an address may take in all, with its redirects.
        max_side (`int`, *optional*, defaults to 1280):
            Longer side, in pixels, of the frames returned from a file. Larger ones are scaled down and not refused,
            since encoders read a few hundred pixels.
        min_share (`float`, *optional*, defaults to 0.25):
            Least share of a damaged or cut off file that must decode. What decodes is used, with a warning.
    """

    max_seconds: float = 300.0
    max_frames: int = 36_000
    max_pixels: int = 7680 * 4320
    max_total_pixels: int = 20 * 10**9
    max_pixels_per_byte: int = 250_000
    max_sampling_rate: int = 768_000
    max_samples: int = 300 * 2 * 192_000
    max_bytes: int = 512 * 2**20
    max_decode_seconds: float = 15.0
    max_fetch_seconds: float = 30.0
    max_side: int = 1280
    min_share: float = 0.25

    def changed(self, changes):
        """
        These limits, some of them changed.

        Args:
            changes (`MediaLimits`, `dict` or `None`): Other limits, or the values of those that change, by name.

        Returns:
            `MediaLimits`

        Raises:
            `ValueError`: If there is no limit of that name, or its value is no number above zero.
        """
        if isinstance(changes, MediaLimits):
            return changes
        names = [field.name for field in fields(self)]
        if unknown := [name for name in changes or {} if name not in names]:
            raise ValueError(f"limits has the unknown {unknown[0]!r:.60}: choose from {', '.join(names)}.")
        return replace(self, **{name: number(value, name) for name, value in (changes or {}).items()})


class Source:
    """
    A media source under its limits. Everything that is said about the source is said here, by its name.

    Args:
        name (`str`): What the user calls it; control characters are escaped, and a long name is shortened.
        limits (`MediaLimits`): Limits on it.
    """

    def __init__(self, name, limits):
        name = printable(name)
        self.name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        self.limits = limits
        self.size, self.head = 0, b""  # its length in bytes, and the first of them
        self.interrupt = None
        self.ends = time.monotonic() + limits.max_decode_seconds

    def error(self, text, kind=MediaError):
        """The error that says `text` about this source, in one line."""
        return kind(f"{self.name}: {printable(' '.join(text.split()))}")

    def warn(self, text):
        """Logs a warning about this source."""
        logger.warning(f"{self.name}: {printable(text)}")

    def check(self, value, unit, field):
        """
        Check the source against one of its limits.

        Args:
            value (`float`): The measured value.
            unit (`str`): What is measured, as it follows the number in the message.
            field (`str`): Name of the limit that applies.

        Raises:
            `MediaError`: If `value` is above the limit, or no number.
        """
        limit = getattr(self.limits, field)
        if not value <= limit:
            raise self.error(
                f"{value:.10g} {unit}, above the limit of {limit:.10g}; give a shorter or smaller one, or raise"
                f" MediaLimits.{field}."
            )

    def check_pixels(self, pixels):
        """Check the pixels of all frames that have to be decoded, in all and per byte."""
        self.check(pixels, "pixels to decode", "max_total_pixels")
        excess = (pixels - _FREE_PIXELS) / max(self.size, 1)
        self.check(excess, "pixels to decode for each byte", "max_pixels_per_byte")

    def check_interrupt(self):
        """Raise what interrupted the reading of a file inside PyAV (`KeyboardInterrupt`), which drops it."""
        if self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            raise interrupt

    def check_time(self):
        """Raise a `MediaError` if reading and decoding have taken too long."""
        self.check_interrupt()
        if time.monotonic() > self.ends:
            raise self.error(
                f"reading it takes longer than the limit of {self.limits.max_decode_seconds:.10g} s; give a shorter or"
                " smaller one, or raise MediaLimits.max_decode_seconds."
            )

    def check_share(self, good, whole, unit):
        """Warn of a damaged source of which only `good` of `whole` can be read, or refuse it below `min_share`."""
        if good < self.limits.min_share * whole or good <= 0:
            raise self.error(
                f"it is damaged or cut off: {good:.3g} of {whole:.3g} {unit} can be read, less than the"
                f" {self.limits.min_share:.0%} asked for; copy or record it again, or lower MediaLimits.min_share."
            )
        self.warn(f"it is damaged or cut off: only {good:.3g} of {whole:.3g} {unit} can be read and are used.")

    @contextmanager
    def guard(self):
        """
        Turn whatever libraries, file objects and the machine raise while a source is read into a `MediaError`.

        Missing libraries stay an `ImportError`, and what is no `Exception` (`KeyboardInterrupt`) stays as it is.
        """
        try:
            try:
                yield
            finally:
                self.check_interrupt()
        except (MediaError, ImportError):
            raise
        except MemoryError as error:
            raise self.error("it needs more memory than there is; give a shorter or smaller one.") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_NAME]
            text = f"it is damaged or cannot be read ({reason}); copy, record or convert it again."
            raise self.error(text) from error


def printable(text):
    """A text whose control characters and terminal escapes are shown and not obeyed; it is one line."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def number(value, name, least=0.0, most=math.inf):
    """
    Take a number as users give it: an `int`, a `float`, a scalar of an array library, or digits in a string.

    Args:
        value: What was given.
        name (`str`): Its name, for the message.
        least (`float`, *optional*, defaults to 0.0): It must be above this.
        most (`float`, *optional*): It must not be above this.

    Returns:
        `int` or `float`

    Raises:
        `MediaError`: If it is no such number.
    """
    try:
        taken = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        taken = math.nan
    if isinstance(value, bool) or not least < taken <= most or math.isinf(taken):
        bound = f" and at most {most:.10g}" if most < math.inf else ""
        shown = f"{value!r:.60}".replace("\n", " ")
        raise MediaError(f"{name} is {shown}: give one number above {'zero' if least == 0 else least}{bound}.")
    return int(taken) if taken.is_integer() else taken


def decoding_options(limits):
    """
    What keeps FFmpeg from taking memory for pictures beyond the limits before they are seen here. It counts what is
    coded, which is somewhat more than what is shown.
    """
    return {"max_pixels": str(2 * limits.max_pixels + 2**16)}


def import_av():
    """Import PyAV on first use, or say how to install it."""
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading media files needs PyAV: pip install av") from error
    return av
