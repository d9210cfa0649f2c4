"""Sound and frames in memory: arrays, tensors, PIL images, and what `datasets` gives."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from clips import tone, write_clip
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, load_clip


def apart(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "g", ">f4", ">f8", "i2", ">i2", "i4", "u1", "u2", "u4", "i8"])
def test_sound_arrays_of_any_number_format(dtype):
    wave = tone(1, 8000)[0]
    if np.dtype(dtype).kind == "f":
        array = wave.astype(dtype)
    else:
        middle = 0 if np.dtype(dtype).kind == "i" else np.iinfo(dtype).max // 2 + 1
        array = np.round(wave.astype(np.float64) * (np.iinfo(dtype).max - middle) + middle).astype(dtype)
    (clip,) = load_clip(array, want="audio", array_sampling_rate=8000, sampling_rate=8000)
    assert clip.audio.dtype == np.float32 and apart(clip.audio, wave) < 2e-2


def test_sound_arrays_with_channels_first_or_last_are_averaged_and_resampled():
    stereo = tone(1, 48000, 2)
    (first,) = load_clip(stereo, want="audio", array_sampling_rate=48000)
    (last,) = load_clip(stereo.T, want="audio", array_sampling_rate=48000)
    wanted = tone(1, 16000, 2).mean(axis=0)
    assert np.array_equal(first.audio, last.audio) and apart(first.audio[400:-400], wanted[400:-400]) < 1e-3


def test_frame_arrays_with_and_without_sound_or_rate():
    frames = np.stack([np.full((4, 6, 3), index, np.uint8) for index in range(50)])
    (plain,) = load_clip(frames, num_frames=5)
    assert plain.end == 2.0 and plain.audio is None and plain.frames[:, 0, 0, 0].tolist() == [5, 15, 25, 35, 45]
    assert load_clip(frames, array_fps=10)[0].end == 5.0
    (heard,) = load_clip(list(frames), num_frames=5, sound=tone(4, 8000), array_sampling_rate=8000)
    assert heard.end == 4.0 and len(heard.audio) == 64000 and np.array_equal(heard.frames, plain.frames)
    images = [Image.fromarray(frame) for frame in frames]
    assert np.array_equal(load_clip(images, num_frames=5)[0].frames, plain.frames)


def test_given_sound_replaces_that_of_a_video(clip):
    (given,) = load_clip(clip, sound=tone(1, 16000))
    assert np.array_equal(given.audio, tone(1, 16000)[0]) and given.frames.shape[0] == 8


@pytest.mark.parametrize(
    ("array", "want", "message"),
    [
        (np.array([0.0, np.nan]), "audio", "NaN or infinite"),
        (np.array([0.0, np.inf]), "audio", "NaN or infinite"),
        (np.array([0.0, 12000.0]), "audio", r"floats are read in \[-1, 1\]"),
        (np.array(["a"]), "audio", "must be numbers"),
        (np.array([True]), "audio", "must be numbers"),
        (np.zeros((2, 2, 2), np.float32), "audio", "must be numbers of shape"),
        (np.zeros((100, 100), np.float32), "audio", "no axis for channels"),
        (np.zeros(0, np.float32), "audio", "zero length"),
        (np.zeros(16000 * 301, np.int16), "audio", "301 s long, above the limit of 300"),
        (np.zeros(100, np.float32), "both", "sound goes into an audio part"),
        (np.zeros((2, 4, 4, 3), np.float32), "both", "uint8 of shape"),
        (np.zeros((2, 4, 4, 1), np.uint8), "both", "uint8 of shape"),
        (np.zeros((0, 4, 4, 3), np.uint8), "both", "holds nothing"),
        ([], "both", "uint8 of shape"),
        ([np.zeros((2, 2, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)], "both", "sizes differ"),
    ],
)
def test_bad_arrays_are_refused(array, want, message):
    with pytest.raises(MediaError, match=message) as error:
        load_clip(array, want=want)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1600,), (2, 1600)])
def test_any_tells_sound_from_frames_by_the_shape_of_an_array(shape):
    (heard,) = load_clip(np.zeros(shape, np.float32) + 0.1, want="any")
    (seen,) = load_clip(np.zeros((2, 8, 8, 3), np.uint8), want="any")
    assert heard.frames is None and heard.audio is not None
    assert seen.frames is not None and seen.audio is None


# Tensors, and what `datasets` gives


@dataclass
class Samples:
    data: torch.Tensor
    sample_rate: int


class Decoder:
    """What a column of sound holds: `datasets.features._torchcodec.AudioDecoder`."""

    def __init__(self, data, rate):
        self.samples = Samples(data, rate)

    def get_all_samples(self):
        if isinstance(self.samples.data, Exception):
            raise self.samples.data
        return self.samples


STEREO = tone(1, 48000, 2)
WANTED = load_clip(STEREO, want="audio", array_sampling_rate=48000)[0].audio


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (torch.tensor(STEREO), {"array_sampling_rate": 48000}),
        (torch.tensor(STEREO, requires_grad=True), {"array_sampling_rate": "48000"}),
        (torch.tensor(STEREO.T), {"array_sampling_rate": 48000.0}),
        ([torch.tensor(row) for row in STEREO], {"array_sampling_rate": torch.tensor(48000)}),
        ({"array": STEREO, "sampling_rate": 48000}, {}),
        ({"array": torch.tensor(STEREO), "sampling_rate": "48000", "path": None}, {"array_sampling_rate": 8000}),
        (Decoder(torch.tensor(STEREO), 48000), {}),
        (Decoder(torch.tensor(STEREO), 48000), {"array_sampling_rate": 8000}),
    ],
)
@pytest.mark.parametrize("want", ["audio", "any"])
def test_sound_as_tensors_dictionaries_and_decoders(source, options, want):
    (clip,) = load_clip(source, want=want, **options)
    assert clip.frames is None and np.array_equal(clip.audio, WANTED)
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert np.array_equal(load_clip(frames, sound=source, **options)[0].audio, WANTED)


def test_a_message_takes_them_too(processor):
    for source in (Decoder(torch.tensor(STEREO), 48000), {"array": torch.tensor(STEREO), "sampling_rate": 48000}):
        messages = [{"role": "user", "content": [{"type": "audio", "audio": source}, {"type": "text", "text": "hi"}]}]
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
        wanted = processor(text="x", audio=STEREO, sampling_rate=48000)
        assert torch.equal(inputs["input_features"], wanted["input_features"])
        assert torch.equal(processor(text="x", audio=[source])["input_features"], wanted["input_features"])


def test_half_precision_and_rates_as_text():
    half = torch.tensor(STEREO).to(torch.bfloat16)
    assert apart(load_clip(half, want="audio", array_sampling_rate=48000)[0].audio, WANTED) < 0.02
    (clip,) = load_clip(STEREO, want="audio", array_sampling_rate="48000", sampling_rate="16000")
    assert np.array_equal(clip.audio, WANTED)


def test_frames_as_tensors_and_images():
    frames = np.random.default_rng(0).integers(0, 255, (8, 6, 10, 3), dtype=np.uint8)
    for source in (torch.tensor(frames), list(torch.tensor(frames)), [Image.fromarray(frame) for frame in frames]):
        assert np.array_equal(load_clip(source, want="any")[0].frames, frames)
    (clip,) = load_clip(Image.fromarray(frames[0]), want="any", num_frames=1)
    assert np.array_equal(clip.frames, frames[:1])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (torch.zeros(0), {"want": "audio"}, "the array: it is of zero length"),
        (torch.zeros(0), {"want": "any"}, "the array: it is of zero length"),
        ([], {"want": "any"}, "the array: it is of zero length"),
        ([], {"want": "audio"}, "the array: it is of zero length"),
        (np.zeros((2, 0)), {"want": "audio"}, "the array: it is of zero length"),
        (np.zeros((0, 4, 4, 3), np.uint8), {"want": "any"}, "the frames: shape .* holds nothing"),
        (Decoder(torch.zeros(1, 0), 16000), {"want": "audio"}, "zero length"),
        (Decoder(torch.zeros(16000, 2), 16000), {"want": "audio"}, r"is not \(channels, samples\)"),
        (Decoder(torch.zeros(1, 100), float("nan")), {"want": "audio"}, "sampling rate is nan"),
        (Decoder(RuntimeError("no FFmpeg\nfound"), 1), {"want": "audio"}, "RuntimeError: no FFmpeg found"),
        (Decoder(torch.zeros(1, 100), 16000), {"want": "both"}, "sound goes into an audio part"),
        ({"array": None, "bytes": None, "path": None}, {"want": "audio"}, "give one of 'array', 'bytes' or 'path'"),
        ({"array": STEREO, "sampling_rate": "much"}, {"want": "audio"}, "sampling rate is 'much': give one number"),
        (torch.zeros(2, 3, 8, 9, dtype=torch.uint8), {}, r"channels seem to come first: move them.*permute"),
        (np.zeros((8, 9, 3), np.uint8), {}, "a single picture goes into a list"),
        (np.zeros((2, 8, 9, 3), np.float32), {}, "give 0 to 255 as uint8"),
        (Image.new("RGB", (4, 4)), {"want": "audio"}, "this is a picture; it goes into a video part"),
        (np.zeros((4, 4)), {"want": "audio"}, "no axis for channels"),
        (np.arange(16000, dtype=np.uint32), {"want": "audio"}, "uint32 samples reach only 15999, silence"),
        ([[[1], [1, 2]]], {"want": "any"}, "^the source: it is damaged or cannot be read"),
        (np.arange(16000), {"want": "audio"}, "int64 samples reach only 15999, silence on that scale"),
        (STEREO, {"want": "audio", "array_sampling_rate": 1e9}, "1000000000 Hz, above the limit of 768000"),
        (STEREO, {"want": "audio", "array_sampling_rate": 1e-300}, "sampling_rate is 1e-300: give one number above 1"),
        (STEREO, {"want": "audio", "array_sampling_rate": 0.01}, "sampling_rate is 0.01: give one number above 1"),
        (STEREO, {"want": "audio", "array_sampling_rate": 2}, "24000 s long, above the limit"),
        (object(), {}, "an? object is no media source"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(source, options, message):
    with pytest.raises(MediaError, match=message) as error:
        load_clip(source, **options)
    assert "\n" not in str(error.value)


def test_a_decoder_of_video_says_what_to_give():
    class VideoDecoder:
        def get_frame_at(self, index):
            raise NotImplementedError

    with pytest.raises(MediaError, match=r"give the file: cast the column to datasets.Video\(decode=False\)"):
        load_clip(VideoDecoder())


NOT_A_RATE = [float("nan"), float("inf"), -16000, 0, "fast", "", None, [16000, 8000], 10**400, True, 1j, "1e999"]


@pytest.mark.parametrize("value", NOT_A_RATE)
def test_numbers_that_are_none_are_one_clear_line(value, processor):
    given = {"want": "audio"}
    for name in ("sampling_rate", "array_sampling_rate", "window_seconds", "num_frames", "array_fps"):
        if value is None and name.startswith("array"):
            continue
        source = np.zeros((2, 4, 4, 3), np.uint8) if name == "array_fps" else STEREO
        with pytest.raises(ValueError, match="give (one|a whole) number") as error:
            load_clip(source, **{**({} if name == "array_fps" else given), name: value})
        assert "\n" not in str(error.value) and len(str(error.value)) < 300
    if value is not None:
        with pytest.raises(ValueError, match="sampling_rate is .*give one number"):
            processor(text="x", audio=STEREO, sampling_rate=value)


def test_windows_and_frames_are_bounded_as_a_product():
    with pytest.raises(MediaError, match="frames to return, above the limit of 36000"):
        load_clip(np.zeros((2, 4, 4, 3), np.uint8), array_fps=1, window_seconds=1e-4, num_frames=8)
    with pytest.raises(MediaError, match="320000 windows to return, above the limit of 36000"):
        load_clip(np.ones(320_000, np.float32) / 9, want="audio", window_seconds=1e-9)
    with pytest.raises(MediaError, match="samples over all channels"):
        load_clip(np.zeros((2, 400), np.float32) + 0.1, want="audio", limits=MediaLimits(max_samples=100))
