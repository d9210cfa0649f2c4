"""Damaged files of every format: read as far as they go, or refused in one line that names them."""

import io
import random

import numpy as np
import pytest

from fuzz.cases import CASES, documented, try_all
from fuzz.child import Child
from fuzz.mutations import mutated
from fuzz.seeds import ANIMATIONS, CLIPS, PHOTOS, STREAMED, make_seeds
from transformers_empathav.processing.media_empathav import MediaError, load_clip


NAMES = [*CLIPS, *(f"streamed_{name}" for name in STREAMED), *(name.lower() for name in PHOTOS), "progressive"]
NAMES += [*(f"moving_{name.lower()}" for name in ANIMATIONS), "heic"]


@pytest.fixture(scope="module")
def seeds():
    return make_seeds()


@pytest.fixture(scope="module")
def child():
    with Child(read) as child:
        yield child


def read(case: tuple[bytes, str, bool]):
    data, want, as_pipe = case
    source = Pipe(data) if as_pipe else data
    with documented(MediaError):
        clips = load_clip(source, want=want)
        assert clips and clips[0].start == 0
        for clip in clips:
            assert 0 < clip.end - clip.start <= 30.001 and clip.end < 301
            assert clip.audio is not None or clip.frames is not None
            if clip.audio is not None:
                assert clip.audio.dtype == np.float32 and clip.audio.ndim == 1 and np.isfinite(clip.audio).all()
            if clip.frames is not None:
                assert clip.frames.dtype == np.uint8 and len(clip.frames) == 8
                assert max(clip.frames.shape[1:3]) <= 1280 and clip.frames.shape[3] == 3


class Pipe(io.BytesIO):
    """What cannot go back."""

    def seekable(self):
        return False


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files(name, seeds, child):
    def attempt(draw: random.Random) -> str | None:
        data = mutated(draw, seeds[name], seeds[draw.choice(NAMES)])
        return child((data, draw.choice(("any", "any", "both", "audio")), draw.random() < 0.1))

    number = NAMES.index(name)
    count = CASES // len(NAMES) + (number < CASES % len(NAMES))
    try_all(f"test_fuzz_media.py::test_damaged_files[{name}]", count, attempt)


def test_whole_files_are_read(seeds):
    assert sorted(seeds) == sorted(NAMES)
    for name, data in seeds.items():
        (clip,) = load_clip(data, want="any")
        assert clip.end > 0, name
