"""Small media files for tests, made with PyAV: a picture that counts its frames and a tone."""

import io
import struct
from fractions import Fraction

import av
import numpy as np

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.processing.messages_empathav import parse_messages


CLOCK = 30_000  # ticks per second of the frames' timestamps


def shade(index):
    """The grey that `write_clip` gives frame `index`; 55 in a row can be told apart after coding."""
    return 16 + 4 * (index % 55)


def write_clip(
    path,
    seconds=2.0,
    fps=30,
    size=(96, 64),
    audio_rate=44100,
    layout="stereo",
    times=None,
    video_codec="libx264",
    audio_codec="aac",
    audio_format=None,
    frequency=440.0,
    audio_seconds=None,
    audio_start=0.0,
    key_every=12,
    format=None,
    options=None,
    picture=None,
    pixel_aspect=None,
    pixel_format="yuv420p",
):
    """
    Write a clip whose frame `i` is `shade(i)` all over, with the sound of `tone`.

    Args:
        path (`str`, `os.PathLike` or file object): Where to; the ending chooses the container, unless `format` does.
        seconds (`float`): Length.
        fps (`int`, *optional*): Frames per second; `None` for no video.
        size (`tuple[int, int]`): Width and height, even.
        audio_rate (`int`, *optional*): Samples per second; `None` for no sound.
        layout (`str`): Channels: `"mono"`, `"stereo"`, `"5.1"`.
        times (`list[float]`, *optional*): When each frame is shown, in seconds, for a variable frame rate.
        video_codec (`str`), audio_codec (`str`): Encoders of FFmpeg.
        audio_format (`str`, *optional*): Sample format of the encoder, its first one if not said.
        frequency (`float`): Of the tone, in Hz.
        audio_seconds (`float`, *optional*): Length of the sound where it differs.
        audio_start (`float`): When the sound begins, in seconds.
        key_every (`int`): Frames from one key frame to the next.
        format (`str`, *optional*): Container.
        options (`dict[str, str]`, *optional*): Of the container.
        picture (*optional*): Function of a frame's index to its RGB array, in place of the shades.
        pixel_aspect (`Fraction`, *optional*): Width of a pixel by its height.
        pixel_format (`str`): Of the encoder.

    Returns:
        The path.
    """
    file = path if hasattr(path, "write") else str(path)
    with av.open(file, "w", format=format, options=options or {}) as container:
        packets = []
        if fps:
            shape = size, pixel_format, pixel_aspect
            packets += _video(container, video_codec, seconds, fps, shape, times, key_every, picture)
        if audio_rate:
            length = seconds if audio_seconds is None else audio_seconds
            sound = tone(length, audio_rate, len(av.AudioLayout(layout).channels), frequency)
            packets += _audio(container, audio_codec, audio_format, layout, audio_rate, sound, audio_start)
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
            container.mux(packet)
    return path


def touch(folder, *names):
    """Makes empty files in `folder` and below, and gives the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def only_message(item):
    """The one message of a labelled clip, which the processor can read."""
    (message,) = item["messages"]
    parse_messages([message], EMOTION_LABELS)
    return message


def tone(seconds, rate, channels=1, frequency=440.0):
    """A tone as float32 of shape `(channels, samples)`; channel `c` has amplitude `0.5 / (c + 1)`."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave / (channel + 1) for channel in range(channels)]).astype(np.float32)


def write_sounds(path, tracks, rate=16000, codec="pcm_s16le", format=None):
    """Write sound tracks alone, each a float array `(channels, samples)` of one or two channels. Returns the path."""
    file = path if hasattr(path, "write") else str(path)
    with av.open(file, "w", format=format) as container:
        streams = [container.add_stream(codec, rate=rate, layout=("mono", "stereo")[len(one) - 1]) for one in tracks]
        for stream in streams:
            stream.format = stream.codec_context.codec.audio_formats[0]
        for stream, sound in zip(streams, tracks):
            layout = stream.layout.name
            for packet in _encoded(stream, layout, rate, np.asarray(sound, np.float32), 0.0):
                container.mux(packet)
    return path


def with_matrix(data, a, b, c, d):
    """An MP4 file whose first track is shown by the matrix x' = a x + c y, y' = b x + d y."""
    data = bytearray(data)
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: the display matrix lies 40 bytes into the box
    fixed = [round(65536 * value) for value in (a, b, c, d)]
    data[matrix : matrix + 36] = struct.pack(">9i", *fixed[:2], 0, *fixed[2:], 0, 0, 0, 1 << 30)
    return bytes(data)


class OneWay(io.RawIOBase):
    """A target that cannot go back, as a pipe: headers keep what was known when they were written."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, data):
        self.data += data
        return len(data)


def _video(container, codec, seconds, fps, shape, times, key_every, picture):
    size, pixel_format, pixel_aspect = shape
    stream = container.add_stream(codec, rate=fps)
    stream.width, stream.height, stream.pix_fmt = *size, pixel_format
    if pixel_aspect:
        stream.codec_context.sample_aspect_ratio = pixel_aspect
    stream.codec_context.gop_size = key_every
    stream.codec_context.thread_count = 1  # several would share the bits by who comes first: other bytes each time
    stream.codec_context.time_base = stream.time_base = Fraction(1, CLOCK)
    if codec in ("mpeg4", "mpeg2video"):
        stream.codec_context.time_base = stream.time_base = Fraction(1, fps)
    for index, time in enumerate(times or np.arange(round(seconds * fps)) / fps):
        grey = np.full((size[1], size[0], 3), shade(index), np.uint8)
        frame = av.VideoFrame.from_ndarray(grey if picture is None else picture(index), format="rgb24")
        frame.time_base = stream.codec_context.time_base
        frame.pts = round(time / frame.time_base)
        yield from stream.encode(frame)
    yield from stream.encode()


def _audio(container, codec, audio_format, layout, rate, sound, start):
    stream = container.add_stream(codec, rate=rate, layout=layout)
    stream.format = audio_format or stream.codec_context.codec.audio_formats[0]
    yield from _encoded(stream, layout, rate, sound, start)


def _encoded(stream, layout, rate, sound, start):
    for begin in range(0, sound.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, begin : begin + 1024]), "fltp", layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = begin + round(start * rate)
        yield from stream.encode(frame)
    yield from stream.encode()
