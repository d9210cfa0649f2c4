"""Decodes media to arrays, within limits on their size.

`load_clip` reads everything: files, bytes, file objects, URLs where allowed, and arrays. PyAV and soxr are imported on
first use, so text alone needs neither.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image
from transformers import BaseImageProcessor
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .media_sources_empathav import MediaError, MediaLimits, check_limit, open_file, open_media
from .media_tracks_empathav import read_tracks, resample, to_mono


_LIMITS = MediaLimits()
_MAX_CHANNELS = 32


@dataclass
class Clip:
    """
    One decoded window of a media source.

    Args:
        audio (`np.ndarray` of shape `(samples,)`, *optional*): Mono sound, float32 in [-1, 1]; `None` without sound.
        frames (`np.ndarray` of shape `(frames, height, width, 3)`, *optional*): RGB, uint8; `None` without video.
        start (`float`): Start of the window, in seconds from the beginning of the source.
        end (`float`): End of the window, likewise.
    """

    audio: np.ndarray | None
    frames: np.ndarray | None
    start: float
    end: float


def load_clip(
    source,
    *,
    sampling_rate=16000,
    num_frames=8,
    window_seconds=30.0,
    want="both",
    sound=None,
    array_sampling_rate=None,
    array_fps=None,
    limits=_LIMITS,
    allow_urls=False,
):
    """
    Decode a media source to one or more clips.

    Sound is mixed down to mono and resampled. The window is divided into `num_frames` equal parts, and the frame on
    screen at the centre of each is taken. Timestamps decide which that is, so variable frame rates work; short videos
    repeat frames. A photo is a video of one frame without sound. If sound starts later than the video, silence is put
    before it.

    A source longer than `window_seconds` is divided into as few equal windows as possible. So nothing is cut off, and
    no short remainder is left.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `np.ndarray` or `list`):
            A media file or arrays. A file object is read from its beginning and left open. Sound has the shape
            `(samples,)`, `(channels, samples)` or `(samples, channels)`, as floats in [-1, 1] or integers over their
            full range. Frames have the shape `(frames, height, width, 3)`, uint8 RGB; a list of PIL images or
            `(height, width, 3)` arrays works too.
        sampling_rate (`int`, *optional*, defaults to 16000): Sampling rate of the sound returned, in Hz.
        num_frames (`int`, *optional*, defaults to 8): Number of frames per clip.
        window_seconds (`float`, *optional*, defaults to 30.0): Longest clip, in seconds.
        want (`str`, *optional*, defaults to `"both"`):
            `"audio"` reads sound alone, also of a video file. `"both"` or `"video"` reads frames, and sound if there
            is any. `"any"` reads the streams that there are.
        sound (*optional*): Source of sound to use with the frames, in place of the video's own.
        array_sampling_rate (`int`, *optional*):
            Sampling rate of sound given as an array, in Hz; `sampling_rate` by default.
        array_fps (`float`, *optional*):
            Frames per second of frames given as arrays. By default they are spread over the length of `sound`; without
            `sound` it is 25.
        limits (`MediaLimits`, *optional*): Limits on the source.
        allow_urls (`bool`, *optional*, defaults to `False`):
            Whether `http://` and `https://` addresses may be fetched.

    Returns:
        `list[Clip]`: the consecutive windows, at least one.

    Raises:
        `MediaError`: If the source is no media, broken, empty, beyond the limits or lacks the stream asked for. If
            there is no such file it is a `MissingMediaError`, which is a `FileNotFoundError` too.
        `ValueError`: If an argument is out of range.
        `ImportError`: If PyAV or soxr is needed and not installed.
    """
    if want not in ("audio", "both", "video", "any"):
        raise ValueError(f"want={want!r} is not known: use 'audio', 'both', 'video' or 'any'.")
    if min(sampling_rate, num_frames, window_seconds) <= 0:
        raise ValueError("sampling_rate, num_frames and window_seconds must be above zero.")
    if sound is not None:
        if want == "audio":
            raise ValueError("sound goes with frames: for sound alone give it as the source.")
        options = {"sampling_rate": sampling_rate, "array_sampling_rate": array_sampling_rate, "limits": limits}
        (clip,) = load_clip(sound, want="audio", window_seconds=limits.max_seconds, allow_urls=allow_urls, **options)
        sound = clip.audio

    if isinstance(source, np.ndarray | list | tuple | Image.Image):
        if want == "audio" or want == "any" and np.ndim(source[0]) < 2:
            sound, video = _read_sound(source, array_sampling_rate or sampling_rate, sampling_rate, limits), None
        else:
            video = _read_stills(source, array_fps, None if sound is None else len(sound) / sampling_rate, limits)
        return _cut("the array", sound, video, sampling_rate, num_frames, window_seconds)
    with open_file(source, limits, allow_urls) as (name, file), open_media(name, file, limits) as container:
        if isinstance(container, Image.Image):
            if want == "audio":
                raise MediaError(f"{name}: a photo has no sound; give it as video, or give a sound file.")
            video = _Stills(np.asarray(container)[None], 1 / 25)
        else:
            sound, video = read_tracks(name, container, want, sound, sampling_rate, limits)
        return _cut(name, sound, video, sampling_rate, num_frames, window_seconds)


def _cut(name, sound, video, sampling_rate, num_frames, window_seconds):
    """Divide sound and video, which both start at time zero, into equal windows."""
    seconds = 0.0 if video is None else video.seconds
    total = max(0 if sound is None else len(sound), round(seconds * sampling_rate))
    if total == 0:
        raise MediaError(f"{name}: it is of zero length; record it again, or leave this part out.")
    count = -(-total // max(1, round(window_seconds * sampling_rate)))
    windows = list(pairwise(total * index // count for index in range(count + 1)))
    frames = [None] * count
    if video is not None:
        centres = (np.arange(num_frames) + 0.5) / num_frames
        times = np.concatenate([start + centres * (end - start) for start, end in windows]) / sampling_rate
        frames = np.split(video.at(times), count)
    clips = []
    for (start, end), shown in zip(windows, frames, strict=True):
        heard = None if sound is None or start >= len(sound) else sound[start:end]
        clips.append(Clip(heard, shown, start / sampling_rate, end / sampling_rate))
    return clips


# To the encoders


def encode_clips(
    clips: list[Clip], feature_extractor: FeatureExtractionMixin, image_processor: BaseImageProcessor
) -> dict[str, np.ndarray]:
    r"""
    Computes audio features and pixel values of clips, with zeros where a clip lacks one of the streams.

    Args:
        clips (`list[Clip]`): The clips of all rows in reading order.
        feature_extractor (`FeatureExtractionMixin`): Converts the sound.
        image_processor (`BaseImageProcessor`): Converts the frames.

    Returns:
        `dict`: `audio_mask` and `video_mask` `(clips,)`. If any clip has sound, `input_features` `(clips, mel,
            frames)` and `input_features_mask` `(clips, frames)`. If any has frames, `pixel_values_videos` `(clips,
            frames, 3, height, width)`.

    Raises:
        `ValueError`: If clips differ in their number of frames.
    """
    heard = np.array([clip.audio is not None for clip in clips])
    seen = np.array([clip.frames is not None for clip in clips])
    data = {"audio_mask": heard.astype(np.int64), "video_mask": seen.astype(np.int64)}
    if heard.any():
        sound = feature_extractor(
            [clip.audio for clip in clips if clip.audio is not None],
            sampling_rate=feature_extractor.sampling_rate,
            return_attention_mask=True,
            return_tensors="np",
        )
        data["input_features"] = spread(sound[feature_extractor.model_input_names[0]], heard)
        data["input_features_mask"] = spread(sound["attention_mask"], heard).astype(np.int64)
    if seen.any():
        shown = [clip.frames for clip in clips if clip.frames is not None]
        if len(counts := sorted({len(frames) for frames in shown})) > 1:
            raise ValueError(
                f"Clips of {' and '.join(map(str, counts))} frames cannot be mixed: load all of them by the same "
                "processor.load_clip."
            )
        pixels = image_processor(images=[frame for frames in shown for frame in frames], return_tensors="np")
        pixels = pixels["pixel_values"]
        data["pixel_values_videos"] = spread(pixels.reshape(len(shown), counts[0], *pixels.shape[1:]), seen)
    return data


def spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Puts the rows of `values` where the boolean `where` is true, and zeros elsewhere."""
    full = np.zeros((len(where), *values.shape[1:]), dtype=values.dtype)
    full[where] = values
    return full


# Arrays


def _read_sound(array, rate, sampling_rate, limits):
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise MediaError(f"the array: sound must be of shape (samples,) or (channels, samples), but {error}") from None
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise MediaError(
            f"the array: sound must be numbers of shape (samples,) or (channels, samples), not {array.dtype} of shape"
            f" {array.shape}; frames go into a video part."
        )
    check_limit("the array", array.nbytes, "bytes", limits, "max_bytes")
    if array.size == 0:
        raise MediaError("the array: it is of zero length; record it again, or leave this part out.")
    channels = np.atleast_2d(array)
    if channels.shape[0] > channels.shape[1]:
        channels = channels.T
    if channels.shape[0] > _MAX_CHANNELS:
        raise MediaError(
            f"the array: shape {array.shape} leaves no axis for channels; give (samples,) or (channels, samples)."
        )
    if rate <= 0:
        raise MediaError(f"the array: a sampling rate of {rate} is not possible; give its samples per second.")
    check_limit("the array", channels.shape[1] / rate, "s long", limits, "max_seconds")
    mono = to_mono(channels)
    if array.dtype.kind == "f" and 8 < (peak := np.abs(mono).max()) < np.inf:
        raise MediaError(f"the array: samples reach {peak:g}; floats are read in [-1, 1], scale them or give int16.")
    return resample("the array", mono, rate, sampling_rate)


def _read_stills(images, fps, seconds, limits):
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, list | tuple):
        images = [np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image) for image in images]
        if len({image.shape for image in images}) > 1:
            raise MediaError(f"the frames: sizes differ ({images[0].shape} and others); give all frames in one size.")
    frames = np.asarray(images)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise MediaError(
            f"the frames: uint8 of shape (frames, height, width, 3) is needed, not {frames.dtype} of shape"
            f" {frames.shape}; sound goes into an audio part."
        )
    if frames.size == 0:
        raise MediaError(
            f"the frames: shape {frames.shape} holds nothing; give at least one frame, or leave this part out."
        )
    check_limit("the frames", frames.nbytes, "bytes", limits, "max_bytes")
    check_limit("the frames", frames.shape[1] * frames.shape[2], "pixels a frame", limits, "max_pixels")
    check_limit("the frames", len(frames), "frames", limits, "max_frames")
    if fps is not None and fps <= 0:
        raise MediaError(f"the frames: {fps} frames per second are not possible; give a rate above zero.")
    seconds = len(frames) / (fps or 25.0) if fps or seconds is None else seconds
    check_limit("the frames", seconds, "s long", limits, "max_seconds")
    return _Stills(frames, seconds)


class _Stills:
    """Frames in memory, evenly spread over `seconds`; `at` gives those on screen at the given times."""

    def __init__(self, frames, seconds):
        self.frames, self.seconds = frames, seconds

    def at(self, times):
        return self.frames[np.minimum(times / self.seconds * len(self.frames), len(self.frames) - 1).astype(int)]
