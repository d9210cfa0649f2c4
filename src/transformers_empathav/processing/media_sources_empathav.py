"""Opens media sources (paths, bytes, file objects, addresses) under their limits, ready to decode."""

import errno
import io
import os
import re
from contextlib import contextmanager

from .media_headers_empathav import OPEN_ENDED, count_samples, mend
from .media_limits_empathav import MediaError, MissingMediaError, Source, decoding_options, import_av
from .media_photos_empathav import open_photo
from .media_urls_empathav import fetch


# Formats that may be opened. Not playlists and text: FFmpeg would open the files that they name, or draw the text.
_VIDEO_FORMATS = "mov,matroska,webm,flv,avi,asf,mpegts,mpeg,m4v,h264,hevc,gif,apng,ivf,mxf"
_AUDIO_FORMATS = "ogg,wav,w64,flac,mp3,aac,ac3,eac3,amr,aiff,au,caf"
_HEAD = 1 << 16  # bytes of a file that tell what it is
_PHOTOS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")


@contextmanager
def open_file(given, limits, allow_urls):
    """
    Open a source as a binary file.

    Args:
        given (`str`, `os.PathLike`, `bytes` or file object): The source.
        limits (`MediaLimits`): Limits on it.
        allow_urls (`bool`): Whether `http://` and `https://` addresses may be fetched.

    Yields:
        `tuple[Source, CheckedFile]`: the source by its name, and a seekable binary file.

    Raises:
        `MediaError`: If there is no such file, or it cannot be read.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        source = Source("the given bytes", limits)
        yield source, CheckedFile(source, io.BytesIO(given))
    elif isinstance(given, str | os.PathLike):
        name = os.fsdecode(given)
        source = Source(name or "''", limits)
        if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", name):
            with source.guard():
                held = fetch(source, name, scheme[1].lower(), allow_urls)
            source = Source(name, limits)  # decoding has its own time
            yield source, CheckedFile(source, held)
            return
        if not os.path.exists(name):
            raise source.error("no such file; check the path.", MissingMediaError)
        if not os.path.isfile(name):
            kind = "a directory" if os.path.isdir(name) else "not a regular file"
            raise source.error(f"this is {kind}; give the path of one media file.")
        try:
            file = open(name, "rb")
        except OSError as error:
            raise source.error(f"it cannot be opened ({error.strerror}); check its permissions.") from None
        with file:
            yield source, CheckedFile(source, file)
    elif callable(getattr(given, "read", None)):
        name = getattr(given, "name", None)
        source = Source(name if isinstance(name, str) and name else "the given file", limits)
        with source.guard():
            if isinstance(given.read(0), str):
                raise source.error("it is open as text; open it in binary mode, open(path, 'rb').")
            seekable = getattr(given, "seekable", None)
            if seekable is None or not seekable():
                given = read_bounded(source, given)
        yield source, CheckedFile(source, given)
    else:
        kind = type(given).__name__
        article = "an" if kind[0] in "aeiou" else "a"
        raise MediaError(f"{article} {kind} is no media source; give a path, bytes, a file object or arrays.")


def read_bounded(source, file):
    """Read a file object that cannot seek to its end, within the limits."""
    held = io.BytesIO()
    while block := _checked(source, file.read(1 << 20), 1 << 20):
        held.write(block)
        source.check(held.tell(), "bytes or more", "max_bytes")
    return held


def _checked(source, data, size):
    if not isinstance(data, bytes | bytearray | memoryview):
        raise source.error(f"its read() returns {type(data).__name__}, not bytes; give a file opened in binary mode.")
    if len(data) > size:
        raise source.error(
            f"its read({size}) returns {len(data)} bytes, more than asked for; give a file or its bytes."
        )
    return data


class CheckedFile:
    """
    A binary file whose answers are checked, since PyAV takes them as they are. Reading counts as decoding time.

    Args:
        source (`Source`): The source.
        file (`BinaryIO`): The file.
    """

    def __init__(self, source, file):
        self.source, self.file = source, file
        self.head = b""  # read in place of the file's own first bytes

    def read(self, size=-1):
        """At most `size` bytes; all that are left if it is negative."""
        self.source.check_time()
        most = self.source.limits.max_bytes  # headers may ask for any size, and files take memory for it
        size = most if size is None or size < 0 else min(size, most)
        place = self.file.tell() if self.head else 0
        try:
            with self.source.guard():  # what it raises is its own, and no fault of the format
                data = _checked(self.source, self.file.read(size), size)
        except Exception:
            raise
        except BaseException as interrupt:  # PyAV would drop it
            self.source.interrupt = interrupt
            return b""
        if place < len(self.head):
            mended = self.head[place : place + len(data)]
            data = mended + bytes(data[len(mended) :])
        return data

    def seek(self, offset, whence=io.SEEK_SET):
        """Moves to a place and returns it; for one that cannot be, as damaged files name it, an error code."""
        try:
            place = self.file.seek(offset, whence)
        except OverflowError:
            return -errno.EINVAL
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.EINVAL or whence == io.SEEK_SET and offset < 0:
                return -errno.EINVAL
            raise
        place = self.file.tell() if place is None else place
        if not isinstance(place, int):
            raise self.source.error("its seek() returns no position; give a file or its bytes.")
        return place

    def tell(self):
        """The place."""
        return self.file.tell()

    def seekable(self):
        """Always true."""
        return True


@contextmanager
def open_media(source, file):
    """
    Open a file as media and check its header against the limits.

    Args:
        source (`Source`): The source.
        file (`CheckedFile`): Its content.

    Yields:
        `av.container.InputContainer` or `PIL.Image.Image`: the open container, or the image if the file is a photo.

    Raises:
        `MediaError`: If the file is neither, is empty, or is beyond the limits.
        `ImportError`: If PyAV is not installed.
    """
    av = import_av()
    source.size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = bytes(file.read(_HEAD))
    file.seek(0)
    if head.startswith(OPEN_ENDED):
        file.head = mend(head, source.size)
    if not head:
        raise source.error("the file is empty (0 bytes); record or download it again.")
    if _is_photo(head):
        source.check(source.size, "bytes", "max_bytes")
        yield open_photo(source, file, head)
        return
    samples = count_samples(file, 0, source.size)
    file.seek(0)
    if samples * source.limits.min_share > source.size:  # more than even a file has of which the end is missing
        raise source.error(f"its index lists {samples} samples in {source.size} bytes; copy or record it again.")
    options = {"format_whitelist": f"{_VIDEO_FORMATS},{_AUDIO_FORMATS}", "protocol_whitelist": "none"}
    options |= decoding_options(source.limits)
    try:
        container = open_container(av, file, options)
    except av.error.FFmpegError:
        yield open_photo(source, file, head)
        return
    with container:
        if source.size > source.limits.max_bytes and container.duration:
            source.check(container.duration / 1e6, "s long", "max_seconds")
        source.check(source.size, "bytes", "max_bytes")
        source.head = head
        yield container


def _is_photo(head):
    """Whether a file that begins with the bytes `head` is a still picture."""
    if head[4:8] == b"ftyp":
        return head[8:12] in _HEIF_BRANDS
    if head.startswith(b"\x89PNG"):
        return b"acTL" not in head.partition(b"IDAT")[0]  # an animation otherwise, which PyAV reads
    return head.startswith(_PHOTOS) or head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def open_container(av, file, options):
    """`av.open`; tags in another encoding are no error. PyAV 19 escapes such bytes by itself."""
    asked = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    return av.open(file, options=options, **asked)
