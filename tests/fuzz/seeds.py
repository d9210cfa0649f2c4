"""Small whole files of every container and picture format, to be damaged."""

import io

import numpy as np
from PIL import Image

from clips import OneWay, write_clip
from heif import write_heif


SMALL = {"seconds": 0.5, "fps": 10, "size": (32, 32), "audio_rate": 16000, "layout": "mono", "key_every": 2}
SOUND = {**SMALL, "fps": None}
OPUS = {"audio_codec": "libopus", "audio_rate": 48000}
CLIPS = {
    "mp4": SMALL,
    "mov": {**SMALL, "video_codec": "mjpeg", "pixel_format": "yuvj420p", "audio_codec": "pcm_s16le"},
    "fragments": {**SMALL, "format": "mp4", "options": {"movflags": "frag_keyframe+empty_moov"}},
    "mp4_hevc": {**SMALL, "format": "mp4", "video_codec": "libx265"},
    "matroska": {**SMALL, "audio_codec": "flac"},
    "ffv1": {**SMALL, "format": "matroska", "video_codec": "ffv1", "audio_codec": "pcm_f32le"},
    "webm": {**SMALL, "video_codec": "libvpx", **OPUS},
    "vp9": {**SMALL, "format": "webm", "video_codec": "libvpx-vp9", **OPUS},
    "flv": {**SMALL, "audio_rate": 44100},
    "avi": {**SMALL, "video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "asf": {**SMALL, "video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "mpegts": SMALL,
    "vob": {**SMALL, "fps": 25, "video_codec": "mpeg2video", "audio_codec": "mp2"},
    "mxf": {**SMALL, "fps": 25, "video_codec": "mpeg2video", "audio_codec": "pcm_s16le", "audio_rate": 48000},
    "h264": {**SMALL, "audio_rate": None},
    "hevc": {**SMALL, "video_codec": "libx265", "audio_rate": None},
    "m4v": {**SMALL, "video_codec": "mpeg4", "audio_rate": None},
    "ivf": {**SMALL, "video_codec": "libvpx", "audio_rate": None},
    "wav": {**SOUND, "audio_codec": "pcm_s16le"},
    "rf64": {**SOUND, "format": "wav", "audio_codec": "pcm_s16le", "options": {"rf64": "always"}},
    "w64": {**SOUND, "audio_codec": "pcm_s16le"},
    "aiff": {**SOUND, "audio_codec": "pcm_s16be"},
    "au": {**SOUND, "audio_codec": "pcm_s16be"},
    "caf": {**SOUND, "audio_codec": "pcm_s16le"},
    "flac": {**SOUND, "audio_codec": "flac"},
    "mp3": {**SOUND, "audio_codec": "libmp3lame"},
    "ogg": {**SOUND, **OPUS},
    "adts": SOUND,
    "ac3": {**SOUND, "audio_codec": "ac3", "audio_rate": 48000},
    "eac3": {**SOUND, "audio_codec": "eac3", "audio_rate": 48000},
}
PHOTOS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF")
ANIMATIONS = ("GIF", "PNG", "WEBP")
STREAMED = ("wav", "aiff", "matroska", "flv", "mpegts")


def make_seeds() -> dict[str, bytes]:
    """The files by name; those that begin with `streamed` were written by what cannot go back to fill in lengths."""
    seeds = {}
    for name in CLIPS:
        seeds[name] = write(io.BytesIO(), name).getvalue()
    for name in STREAMED:
        seeds[f"streamed_{name}"] = bytes(write(OneWay(), name).data)
    pictures = [picture(seed) for seed in range(3)]
    for name in PHOTOS:
        seeds[name.lower()] = saved(pictures[0], name)
    seeds["progressive"] = saved(pictures[0], "JPEG", progressive=True)
    for name in ANIMATIONS:
        seeds[f"moving_{name.lower()}"] = saved(
            pictures[0], name, save_all=True, append_images=pictures[1:], duration=100
        )
    seeds["heic"] = write_heif([[np.full((64, 64, 3), 60 * column, np.uint8) for column in range(2)]], turns=1)
    return seeds


def write(target, name: str):
    """Writes a clip, the same bytes each time: so that a case can be repeated."""
    options = {"format": name, **CLIPS[name]}
    return write_clip(target, **{**options, "options": {"fflags": "+bitexact", **options.get("options", {})}})


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8))


def saved(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
