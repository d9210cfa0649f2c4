"""Opens media sources (paths, bytes, file objects, URLs): limits, errors, and containers ready to decode."""

import io
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps


# Formats that may be opened. Not playlists and text: FFmpeg would open the files that they name, or draw the text.
_VIDEO_FORMATS = "mov,matroska,webm,flv,avi,asf,mpegts,mpeg,m4v,h264,hevc,gif,ivf,mxf"
_AUDIO_FORMATS = "ogg,wav,w64,flac,mp3,aac,ac3,eac3,amr,aiff,au,caf"
# Headers of these formats hold no length; FFmpeg guesses it from the bit rate. The guess is not used for checks.
GUESSED_LENGTH = {"mp3", "aac", "ac3", "eac3", "amr", "h264", "hevc", "m4v"}


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
        max_bytes (`int`, *optional*, defaults to 536870912): Bytes of the source, compressed or as an array (512 MiB).
        max_side (`int`, *optional*, defaults to 1280):
            Longer side, in pixels, of the frames returned from a file. Larger ones are scaled down and not refused,
            since encoders read a few hundred pixels.
    """

    max_seconds: float = 300.0
    max_frames: int = 36_000
    max_pixels: int = 7680 * 4320
    max_bytes: int = 512 * 2**20
    max_side: int = 1280


def check_limit(name, value, unit, limits, field):
    """
    Check a source against one of its limits.

    Args:
        name (`str`): The source, for the message.
        value (`float`): The measured value.
        unit (`str`): What is measured, as it follows the number in the message.
        limits (`MediaLimits`): The limits.
        field (`str`): Name of the limit that applies.

    Raises:
        `MediaError`: If `value` is above the limit.
    """
    limit = getattr(limits, field)
    if value > limit:
        raise MediaError(
            f"{name}: {value:.10g} {unit}, above the limit of {limit:.10g}; give a shorter or smaller one, or raise"
            f" MediaLimits.{field}."
        )


@contextmanager
def open_file(source, limits, allow_urls):
    """
    Open a source as a binary file.

    Args:
        source (`str`, `os.PathLike`, `bytes` or file object): The source.
        limits (`MediaLimits`): Limits on it.
        allow_urls (`bool`): Whether `http://` and `https://` addresses may be fetched.

    Yields:
        `tuple[str, BinaryIO]`: its name for messages, and a seekable binary file.

    Raises:
        `MediaError`: If there is no such file, or it cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield "the given bytes", io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", name)
        if scheme:
            yield name, _fetch(name, scheme[1].lower(), limits, allow_urls)
            return
        if not os.path.exists(name):
            raise MissingMediaError(f"{name}: no such file; check the path.")
        if not os.path.isfile(name):
            kind = "a directory" if os.path.isdir(name) else "not a regular file"
            raise MediaError(f"{name}: this is {kind}; give the path of one media file.")
        try:
            file = open(name, "rb")
        except OSError as error:
            raise MediaError(f"{name}: it cannot be opened ({error.strerror}); check its permissions.") from None
        with file:
            yield name, file
    elif callable(getattr(source, "read", None)):
        name = str(getattr(source, "name", "the given file"))
        if not isinstance(source.read(0), bytes):
            raise MediaError(f"{name}: it is open as text; open it in binary mode, open(path, 'rb').")
        if not source.seekable():
            source = _read_bounded(name, source, limits)
        yield name, source
    else:
        raise MediaError(f"a {type(source).__name__} is no media source; give a path, bytes, a file object or arrays.")


def _fetch(url, scheme, limits, allow_urls):
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    if not allow_urls:
        raise MediaError(f"{url}: addresses are fetched only if allowed; pass allow_urls=True, or give a local file.")
    if scheme not in ("http", "https"):
        raise MediaError(f"{url}: only http:// and https:// are fetched; download the file and give its path.")
    try:
        with urlopen(Request(url, headers={"User-Agent": "Mozilla/5.0"}), timeout=30) as response:
            return _read_bounded(url, response, limits)
    except (OSError, HTTPException) as error:
        raise MediaError(
            f"{url}: it could not be fetched ({error}); check the address, or give a local file."
        ) from None


def _read_bounded(name, file, limits):
    held = io.BytesIO()
    while block := file.read(1 << 20):
        held.write(block)
        check_limit(name, held.tell(), "bytes or more", limits, "max_bytes")
    return held


def import_av():
    """Import PyAV on first use, or say how to install it."""
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading media files needs PyAV: pip install av") from error
    return av


@contextmanager
def open_media(name, file, limits):
    """
    Open a file as media and check its header against the limits.

    Args:
        name (`str`): The source, for messages.
        file (`BinaryIO`): A seekable file.
        limits (`MediaLimits`): Limits on it.

    Yields:
        `av.container.InputContainer` or `PIL.Image.Image`: the open container, or the image if the file is a photo.

    Raises:
        `MediaError`: If the file is neither, is empty, or is beyond the limits.
        `ImportError`: If PyAV is not installed.
    """
    av = import_av()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise MediaError(f"{name}: the file is empty (0 bytes); record or download it again.")
    try:
        options = {"format_whitelist": f"{_VIDEO_FORMATS},{_AUDIO_FORMATS}", "protocol_whitelist": "none"}
        container = open_container(av, file, options)
    except av.error.FFmpegError:
        yield _open_photo(name, file, limits)
        return
    with container:
        if container.duration and container.format.name not in GUESSED_LENGTH:
            check_limit(name, container.duration / 1e6, "s long", limits, "max_seconds")
        check_limit(name, size, "bytes", limits, "max_bytes")
        yield container


def open_container(av, file, options):
    """`av.open`; tags in another encoding are no error. PyAV 19 escapes such bytes by itself."""
    asked = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    return av.open(file, options=options, **asked)


def _open_photo(name, file, limits):
    try:
        file.seek(0)
        image = Image.open(file)
        check_limit(name, image.width * image.height, "pixels", limits, "max_pixels")
        image = ImageOps.exif_transpose(image).convert("RGB")
    except MediaError:
        raise
    except Exception:
        raise MediaError(
            f"{name}: it is no media file that can be read, or is cut off before its index; check that it"
            " plays, or convert it, e.g. with ffmpeg, to mp4 or wav."
        ) from None
    image.thumbnail((limits.max_side, limits.max_side))
    return image
