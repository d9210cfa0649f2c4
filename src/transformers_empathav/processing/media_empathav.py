"""Decodes media to arrays, within limits on their size.

`load_clip` reads everything: files, bytes, file objects, URLs where allowed, and arrays. PyAV and soxr are imported on
first use, so text alone needs neither.
"""

import os
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image
from transformers import BaseImageProcessor
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .face_crop_empathav import Faces
from .media_arrays_empathav import Stills, in_memory, is_sound, sound_of, stills_of
from .media_limits_empathav import MediaError, MediaLimits, Source, number  # noqa: F401 (MediaError: of this module)
from .media_sound_empathav import SILENT, is_silent
from .media_sources_empathav import open_file, open_media
from .media_tracks_empathav import read_tracks


_LIMITS = MediaLimits()
# A tenth of a second, which is more than the convolutions of any encoder of sound span at once.
SHORTEST = 10


@dataclass
class Clip:
    """
    One decoded window of a media source.

    Args:
        audio (`np.ndarray` of shape `(samples,)`, *optional*):
            Mono sound, float32 in [-1, 1]; `None` without sound, or with digital silence beside frames. Silence
            without frames is kept, but counts as no sound too ([`encode_clips`]).
        frames (`np.ndarray` of shape `(frames, height, width, 3)`, *optional*): RGB, uint8; `None` without video.
        start (`float`): Start of the window, in seconds from the beginning of the source.
        end (`float`): End of the window, likewise.
        face (`Faces`, *optional*): Who was found in the frames, false for nobody; `None` where nobody was looked for.
    """

    audio: np.ndarray | None
    frames: np.ndarray | None
    start: float
    end: float
    face: Faces | None = None


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

    Sound is mixed down to mono and resampled. Of several sound tracks the loudest is read, and channels that carry
    nothing or cancel the others are left out, with a warning. Digital silence counts as no sound.

    The window is divided into `num_frames` equal parts, and the frame on screen at the centre of each is taken.
    Timestamps decide which that is, so variable frame rates work; short videos repeat frames. Frames come as a player
    shows them: turned or mirrored, with square pixels, in one size, and transparency on white. A photo is a video of
    one frame without sound. If sound starts later than the video, silence is put before it.

    Of a file that is damaged or cut off, what decodes is used, with a warning.

    A source longer than `window_seconds` is divided into as few equal windows as possible. So nothing is cut off, and
    no short remainder is left.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `np.ndarray`, `torch.Tensor`, `dict` or `list`):
            A media file, or arrays or tensors. A file object is read from its beginning and left open. Sound has the
            shape `(samples,)`, `(channels, samples)` or `(samples, channels)`, the shorter axis being the channels, as
            floats in [-1, 1] or integers over their full range. Frames have the shape `(frames, height, width, 3)`,
            uint8 RGB; a PIL image, a list of them, or of `(height, width, 3)` arrays works too. What `datasets` gives
            is taken as well: dictionaries with `"array"`, `"bytes"` or `"path"`, and its `AudioDecoder`.
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
    sampling_rate = number(sampling_rate, "sampling_rate", least=1, most=limits.max_sampling_rate)
    num_frames = number(num_frames, "num_frames", most=limits.max_frames)
    window_seconds = number(window_seconds, "window_seconds")
    if array_sampling_rate is not None:
        array_sampling_rate = number(array_sampling_rate, "sampling_rate", least=1)
    if not isinstance(num_frames, int):
        raise ValueError(f"num_frames is {num_frames}: give a whole number.")
    if sound is not None:
        if want == "audio":
            raise ValueError("sound goes with frames: for sound alone give it as the source.")
        options = {"sampling_rate": sampling_rate, "array_sampling_rate": array_sampling_rate, "limits": limits}
        (clip,) = load_clip(sound, want="audio", window_seconds=limits.max_seconds, allow_urls=allow_urls, **options)
        # Silence is dropped here, but frames without a rate of their own are spread over its length.
        sound = np.zeros(round(clip.end * sampling_rate), np.float32) if clip.audio is None else clip.audio

    here = False
    if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        with Source("the source", limits).guard():
            source, array_sampling_rate, here = in_memory(source, array_sampling_rate)
    if here:
        with Source("the source", limits).guard():
            heard = want == "audio" or want == "any" and is_sound(source)
        media = Source("the array" if heard else "the frames", limits)
        with media.guard():
            if heard:
                sound, video = sound_of(media, source, array_sampling_rate or sampling_rate, sampling_rate), None
            else:
                video = stills_of(media, source, array_fps, None if sound is None else len(sound) / sampling_rate)
            return _cut(media, sound, video, sampling_rate, num_frames, window_seconds)
    with open_file(source, limits, allow_urls) as (media, file), media.guard():
        with open_media(media, file) as container:
            if isinstance(container, Image.Image):
                if want == "audio":
                    raise media.error("a photo has no sound; give it as video, or give a sound file.")
                video = Stills(np.asarray(container)[None], 1 / 25)
            else:
                sound, video = read_tracks(media, container, want, sound, sampling_rate)
            return _cut(media, sound, video, sampling_rate, num_frames, window_seconds)


def _cut(source, sound, video, sampling_rate, num_frames, window_seconds):
    """Divide sound and video, which both start at time zero, into equal windows. Silence counts as no sound."""
    seconds = 0.0 if video is None else video.seconds
    if sound is not None and len(sound) and is_silent(sound):
        source.warn(SILENT)
        if video is not None and not isinstance(video, Stills):
            sound = None
    total = max(0 if sound is None else len(sound), round(seconds * sampling_rate))
    if total == 0:
        raise source.error("it is of zero length; record it again, or leave this part out.")
    count = -(-total // max(1, round(window_seconds * sampling_rate)))
    source.check(count, "windows to return", "max_frames")
    if video is not None:
        source.check(count * num_frames, "frames to return", "max_frames")
    windows = list(pairwise(total * index // count for index in range(count + 1)))
    frames = [None] * count
    if video is not None:
        centres = (np.arange(num_frames) + 0.5) / num_frames
        times = np.concatenate([start + centres * (end - start) for start, end in windows]) / sampling_rate
        frames = np.split(video.at(times), count)
    clips = []
    for (start, end), shown in zip(windows, frames, strict=True):
        heard = None if sound is None or start >= len(sound) else sound[start:end]
        if heard is not None and shown is not None and is_silent(heard):
            heard = None  # the face is read alone, as if there were no sound
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
        `dict`: `audio_mask` and `video_mask` `(clips,)`. Digital silence counts as no sound, and frames in which a
            face was looked for in vain as no frames: what they show is no expression. If any clip has sound,
            `input_features` `(clips, mel, frames)` and `input_features_mask` `(clips, frames)`. If any has frames,
            `pixel_values_videos` `(clips, frames, 3, height, width)`.

    Raises:
        `ValueError`: If clips differ in their number of frames.
    """
    heard = np.array([clip.audio is not None for clip in clips])
    seen = np.array([clip.frames is not None for clip in clips])
    data = {"audio_mask": heard.astype(np.int64), "video_mask": seen.astype(np.int64)}
    data["audio_mask"][[clip.audio is not None and is_silent(clip.audio) for clip in clips]] = 0
    data["video_mask"][[clip.face is not None and not clip.face for clip in clips]] = 0
    if heard.any():
        sounds = [clip.audio for clip in clips if clip.audio is not None]
        # Whisper's extractor fills a window up. The others pad to the longest sound, and their encoders need some.
        window, least = "chunk_length" in feature_extractor.to_dict(), feature_extractor.sampling_rate // SHORTEST
        if not window:
            sounds = [np.pad(sound, (0, max(0, least - len(sound)))) for sound in sounds]
        sound = feature_extractor(
            sounds,
            sampling_rate=feature_extractor.sampling_rate,
            padding="max_length" if window else "longest",
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
        # The layout is said: of a picture three pixels high it cannot be told.
        pixels = image_processor(
            images=[frame for frames in shown for frame in frames],
            input_data_format="channels_last",
            return_tensors="np",
        )["pixel_values"]
        data["pixel_values_videos"] = spread(pixels.reshape(len(shown), counts[0], *pixels.shape[1:]), seen)
    return data


def spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Puts the rows of `values` where the boolean `where` is true, and zeros elsewhere."""
    full = np.zeros((len(where), *values.shape[1:]), dtype=values.dtype)
    full[where] = values
    return full
