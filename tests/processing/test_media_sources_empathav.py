"""File objects and containers that misbehave: whatever they raise becomes one line that names the source."""

import io
import os

import numpy as np
import pytest

from clips import tone, write_clip, write_sounds
from transformers_empathav.processing import media_tracks_empathav
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, load_clip
from transformers_empathav.processing.media_limits_empathav import MissingMediaError, Source


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Larger than PyAV's buffer, so that it is read in several steps."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    return write_clip(path, seconds=1, picture=noise, options={"movflags": "faststart"}).read_bytes()


def noise(index):
    return np.random.default_rng(index).integers(0, 255, (64, 96, 3), dtype=np.uint8)


class File(io.BytesIO):
    """A file object with a name, of which one answer is replaced after some calls."""

    name = "strange.mp4"

    def __init__(self, data, method=None, answer=None, after=0):
        super().__init__(data)
        self.method, self.answer, self.after = method, answer, after

    def replaced(self, method, *args):
        self.after -= method == self.method
        if method == self.method and self.after < 0:
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer
        return getattr(super(), method)(*args)

    def read(self, size=-1):
        return self.replaced("read", size)

    def seek(self, *args):
        return self.replaced("seek", *args)

    def tell(self):
        return self.replaced("tell")

    def seekable(self):
        return self.replaced("seekable")


@pytest.mark.parametrize("after", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("method", "answer", "message"),
    [
        ("read", OSError(5, "Input/output error"), r"OSError: \[Errno 5\] Input/output error"),
        ("read", ValueError("I/O operation\non closed file"), "ValueError: I/O operation on closed file"),
        ("read", RuntimeError("gone"), "RuntimeError: gone"),
        ("read", IndexError("list index out of range"), "IndexError"),
        ("read", MemoryError(), "it needs more memory than there is"),
        ("read", b"x" * (1 << 21), r"returns 2097152 bytes, more than asked"),
        ("read", "text", "open as text|returns str, not bytes"),
        ("read", None, "returns NoneType, not bytes"),
        ("seek", OSError(29, "Illegal seek"), "Illegal seek"),
        ("seek", "here", "its seek\\(\\) returns no position"),
        ("seekable", OSError("no answer"), "no answer"),
    ],
)
def test_file_objects_that_misbehave_are_named(data, method, answer, message, after):
    if method == "seekable" and after or method == "read" and after == 0 and isinstance(answer, bytes | type(None)):
        pytest.skip("it is asked once")
    with pytest.raises(MediaError, match=f"strange.mp4: .*({message})") as error:
        load_clip(File(data, method, answer, after))
    assert "\n" not in str(error.value)


def test_the_keyboard_still_interrupts(data):
    with pytest.raises(KeyboardInterrupt):
        load_clip(File(data, "read", KeyboardInterrupt(), 3))


def test_a_pipe_that_never_ends_or_gives_too_much_is_left():
    class Pipe(io.RawIOBase):
        name = "pipe"

        def __init__(self, more):
            self.more = more

        def read(self, size=-1):
            return bytes(size + self.more)

    with pytest.raises(MediaError, match="pipe: .*bytes or more, above the limit of 5000000"):
        load_clip(Pipe(0), limits=MediaLimits(max_bytes=5_000_000))
    with pytest.raises(MediaError, match=r"pipe: its read\(\d+\) returns \d+ bytes, more than asked"):
        load_clip(Pipe(1))


def test_file_objects_with_read_alone(data):
    class Minimal:
        def __init__(self):
            self.file = io.BytesIO(data)

        def read(self, size=-1):
            return bytearray(self.file.read(min(size, 999)))

    assert load_clip(Minimal())[0].frames.shape[0] == 8


@pytest.mark.parametrize("error", [IndexError("out of range"), OSError(22, "Invalid argument"), KeyError(1)])
def test_whatever_a_library_raises_is_named(data, monkeypatch, tmp_path, error):
    path = tmp_path / "strange.mp4"
    path.write_bytes(data)

    def fail(*args):
        raise error

    monkeypatch.setattr(media_tracks_empathav, "picture", fail)
    with pytest.raises(MediaError, match=f"strange.mp4: it is damaged or cannot be read .{type(error).__name__}"):
        load_clip(path)
    monkeypatch.setattr(media_tracks_empathav, "picture", lambda *args: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MediaError, match="strange.mp4: it needs more memory than there is"):
        load_clip(path)


def test_mutated_files_raise_nothing_else(tmp_path, data):
    rng = np.random.default_rng(1)
    sound = write_sounds(tmp_path / "a.flac", [tone(0.5, 16000)], codec="flac").read_bytes()
    film = write_clip(tmp_path / "a.mkv", seconds=0.5, fps=10, audio_codec="flac").read_bytes()
    flash = write_clip(tmp_path / "a.flv", seconds=0.5, fps=10).read_bytes()
    for seed in (data, sound, film, flash):
        for _ in range(12):
            mutated = bytearray(seed)
            for place in rng.integers(0, len(seed), 20):
                mutated[place] = rng.integers(256)
            try:
                load_clip(bytes(mutated), want="any", limits=MediaLimits(max_decode_seconds=5))
            except MediaError as error:
                assert "\n" not in str(error) and str(error).startswith("the given bytes: ")


def test_names_are_shown_in_one_safe_line(tmp_path):
    strange = {"a\nb.mp4": r"a\\nb.mp4", "a\x1b[31m.mp4": r"a\\x1b\[31m.mp4", "\udc80.mp4": r"\\udc80.mp4"}
    for name, shown in strange.items():
        with pytest.raises(MissingMediaError, match=shown):
            load_clip(str(tmp_path / name))
    with pytest.raises(MissingMediaError, match="^'': no such file"):
        load_clip("")
    with pytest.raises(MediaError) as error:
        load_clip("x" * 10000)
    assert len(str(error.value)) < 300
    with pytest.raises(MissingMediaError, match="nothing.mp4"):
        load_clip(os.fsencode(tmp_path / "nothing.mp4").decode())
    assert "é" in Source("é.mp4", MediaLimits()).name


def test_what_a_library_says_is_shown_in_one_safe_line(data, caplog):
    with pytest.raises(MediaError, match=r"strange.mp4: .*gone\\x1b\[31m for \\u202egood") as error:
        load_clip(File(data, "read", RuntimeError("gone\x1b[31m\nfor \u202egood"), 1))
    assert str(error.value).isprintable()
    Source("a", MediaLimits()).warn("red\x1b[31m")
    assert r"a: red\x1b[31m" in caplog.text


def test_limits_are_said_with_the_field_that_raises_them(data):
    for field, value, message in (
        ("max_decode_seconds", 0.0, "reading it takes longer than the limit of 0 s"),
        ("max_sampling_rate", 20000, "44100 Hz, above the limit of 20000"),
        ("max_samples", 1000, "samples over all channels, above the limit of 1000"),
        ("max_total_pixels", 50000, "pixels to decode, above the limit of 50000"),
    ):
        with pytest.raises(MediaError, match=f"the given bytes: .*{message}.*MediaLimits.{field}"):
            load_clip(data, limits=MediaLimits(**{field: value}))
