"""Decodes the tracks of a media file: sound to samples, video to the frames on screen at given times."""

from bisect import bisect_right
from collections import deque
from math import inf

import numpy as np

from .media_sources_empathav import GUESSED_LENGTH, MediaError, check_limit, import_av


_SLACK = 0.1  # seconds by which the header's length may exceed that of the packets before a file counts as cut off
_GAP = 0.1  # longest gap in the sound, in seconds, that is not filled with silence


def read_tracks(name, container, want, sound, sampling_rate, limits):
    """
    Demux a file once, decode its sound and prepare its video. Time zero of both is where the earlier one starts.

    Args:
        name (`str`): The source, for messages.
        container (`av.container.InputContainer`): The open file.
        want (`str`):
            `"audio"` for the sound track alone, `"both"` for the video track and sound if there is any, `"any"` for
            the tracks that there are.
        sound (`np.ndarray` of shape `(samples,)`, *optional*): Sound to use in place of the file's.
        sampling_rate (`int`): Sampling rate of the sound returned, in Hz.
        limits (`MediaLimits`): Limits on the file.

    Returns:
        `tuple[np.ndarray | None, VideoTrack | None]`: mono sound and the video track.

    Raises:
        `MediaError`: If a track that is asked for is missing, or the file is broken or beyond the limits.
    """
    video = audio = heard = None
    if want != "audio":
        films = [
            stream
            for stream in container.streams.video
            if not stream.disposition & import_av().stream.Disposition.attached_pic
        ]
        best = container.streams.best("video")
        video = best if best in films else next(iter(films), None)
    if sound is None:
        audio = container.streams.best("audio")
    if want == "any" and video is None and audio is None:
        raise MediaError(f"{name}: it has neither a video nor an audio track; give another file.")
    if want != "any" and (audio if want == "audio" else video) is None:
        missing, there = ("audio", "video") if want == "audio" else ("video", "audio")
        raise MediaError(f"{name}: it has no {missing} track; give it as {there}, or give another file.")

    streams = [stream for stream in (video, audio) if stream is not None]
    packets = _demux(name, container, streams, limits)
    if audio is not None:
        sound, rate, heard = _decode_sound(name, packets[audio.index], limits)
        sound = resample(name, sound, rate, sampling_rate)
    if video is None:
        return sound, None
    track = VideoTrack(name, video, packets[video.index], heard, limits)
    if heard is not None:
        sound = np.pad(sound, (round((heard - track.origin) * sampling_rate), 0))
    return sound, track


def _seconds(packet):
    """Timestamp of a packet in seconds; `None` if the container holds none."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None else float(stamp * packet.time_base)


def _broken(name, second):
    second = "its beginning" if second in (None, -inf) else f"second {second:.2f}"
    return MediaError(f"{name}: it is damaged or cut off at {second}; copy or record it again, or cut it before that.")


def _demux(name, container, streams, limits):
    """The compressed packets of each stream, read in one pass without seeking; they are no larger than the file."""
    packets = {stream.index: [] for stream in streams}
    first, last, step = inf, -inf, 0.0
    try:
        for packet in container.demux():
            stream, begin = packet.stream, _seconds(packet)
            if packet.is_corrupt:
                raise _broken(name, begin)
            if begin is not None and packet.size:
                first, last = min(first, begin), max(last, begin + float((packet.duration or 0) * packet.time_base))
                check_limit(name, last - first, "s long", limits, "max_seconds")
            if stream.type == "video" and stream.average_rate:
                step = max(step, 1 / float(stream.average_rate))
            if stream.index in packets:
                packets[stream.index].append(packet)
                if stream.type == "video":
                    check_limit(name, len(packets[stream.index]) - 1, "frames", limits, "max_frames")
    except import_av().FFmpegError:
        raise _broken(name, last) from None
    stated = container.duration
    if stated and container.format.name not in GUESSED_LENGTH and last < stated / 1e6 - _SLACK - step:
        raise _broken(name, max(last, 0.0))
    return packets


def _decode(name, packet):
    try:
        return packet.decode()
    except import_av().FFmpegError:
        raise _broken(name, _seconds(packet)) from None


def _decode_sound(name, packets, limits):
    """Decode the sound: mono samples, their rate, and the second at which they start (`None` without samples)."""
    pieces, rate, begin, count = [np.zeros(0, np.float32)], 1, None, 0
    for packet in packets:
        for frame in _decode(name, packet):
            now = frame.time or 0.0
            if begin is None:
                rate, begin = frame.sample_rate, now
            if frame.sample_rate != rate:
                raise MediaError(f"{name}: its sampling rate changes at second {now:.2f}; convert it to one rate.")
            gap = round((now - begin) * rate) - count
            gap = gap if frame.time is not None and gap > _GAP * rate else 0
            count += gap + frame.samples
            check_limit(name, count / rate, "s long", limits, "max_seconds")
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            pieces += [np.zeros(gap, np.float32), to_mono(samples)]
    mono = np.concatenate(pieces)
    last = next((packet for packet in reversed(packets) if packet.size), None)
    if begin is not None and last.pts is not None and last.duration and last.time_base * rate <= 1:
        padding = count - round((float((last.pts + last.duration) * last.time_base) - begin) * rate)
        if 0 < padding < frame.samples:  # the codec has filled up its last frame
            mono = mono[:-padding]
    return mono, rate, begin


def to_mono(channels):
    """
    Mix channels down by their mean.

    Args:
        channels (`np.ndarray` of shape `(channels, samples)`): Floats in [-1, 1], or integers over their full range.

    Returns:
        `np.ndarray` of shape `(samples,)`: float32 in [-1, 1].
    """
    dtype = channels.dtype
    if dtype.kind == "f":
        return channels.mean(axis=0, dtype=np.result_type(dtype, np.float32)).astype(np.float32, copy=False)
    half = 2.0 ** (8 * dtype.itemsize - 1)
    return ((channels.mean(axis=0) - (half if dtype.kind == "u" else 0.0)) / half).astype(np.float32)


def resample(name, mono, rate, sampling_rate):
    """Resample mono sound from `rate` to `sampling_rate`, in Hz. NaN and infinity raise a [`MediaError`]."""
    if not np.isfinite(mono).all():
        raise MediaError(f"{name}: its sound holds NaN or infinite samples; repair it, e.g. with np.nan_to_num.")
    if rate == sampling_rate or mono.size == 0:
        return mono
    try:
        import soxr
    except ImportError as error:
        raise ImportError("Resampling sound needs soxr: pip install soxr") from error
    return soxr.resample(mono, rate, sampling_rate, quality="HQ")


class VideoTrack:
    """
    A demuxed video track. Decodes from the key frame before each time that is asked for.

    Args:
        name (`str`): The source, for messages.
        stream (`av.VideoStream`): The track.
        packets (`list[av.Packet]`): All its packets in the order of the file.
        heard (`float`, *optional*): Second of the file at which its sound starts.
        limits (`MediaLimits`): Limits on the frames.
    """

    def __init__(self, name, stream, packets, heard, limits):
        self.name, self.stream, self.packets, self.limits = name, stream, packets, limits
        check_limit(name, stream.width * stream.height, "pixels a frame", limits, "max_pixels")
        self.step = 1 / float(stream.average_rate or 25)
        filled = [(index, packet) for index, packet in enumerate(packets) if packet.size]
        if not filled:
            raise MediaError(f"{name}: its video track is empty; give it as audio, or give another file.")
        keys = [(index, packet) for index, packet in filled if packet.is_keyframe] or filled[:1]
        if any(packet.pts is None for _, packet in filled):  # no timestamps: frames are counted from the first one
            begin, end = 0.0, len(filled) * self.step
            self.keys = [(0.0, keys[0][0])]
        else:
            shown = [packet for _, packet in filled if not packet.is_discard] or [keys[0][1]]
            begin = min(_seconds(packet) for packet in shown)
            last = max(shown, key=_seconds)
            end = _seconds(last) + (float((last.duration or 0) * last.time_base) or self.step)
            self.keys = sorted((_seconds(packet), index) for index, packet in keys)
        self.origin = begin if heard is None else min(begin, heard)
        self.seconds = end - self.origin
        check_limit(name, self.seconds, "s long", limits, "max_seconds")
        stream.thread_type = "AUTO"

    def at(self, times):
        """
        The frames on screen at the given times. Times outside the video give its first or last frame.

        Args:
            times (`np.ndarray` of shape `(frames,)`):
                Rising times in seconds; zero is the start of sound or video, the earlier one.

        Returns:
            `np.ndarray` of shape `(frames, height, width, 3)`: RGB, uint8, upright.
        """
        self.stream.codec_context.flush_buffers()
        pending, chosen = deque(times + self.origin), []
        shown, now, index = None, -self.step, 0
        while pending and index < len(self.packets):
            key = self.keys[max(bisect_right(self.keys, (pending[0], inf)) - 1, 0)][1]
            if key > index:
                self.stream.codec_context.flush_buffers()
                shown, index = None, key
            for frame in _decode(self.name, self.packets[index]):
                now = now + self.step if frame.time is None else frame.time
                due = 0 if shown is None else sum(time < now for time in pending)
                if due:
                    chosen += [self._picture(shown)] * due
                    pending = deque(list(pending)[due:])
                shown = frame
            index += 1
        if shown is None:
            raise _broken(self.name, None)
        if pending:
            chosen += [self._picture(shown)] * len(pending)
        return np.stack(chosen)

    def _picture(self, frame):
        if frame.is_corrupt:
            raise _broken(self.name, frame.time)
        check_limit(self.name, frame.width * frame.height, "pixels a frame", self.limits, "max_pixels")
        scale = min(1.0, self.limits.max_side / max(frame.width, frame.height))
        width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
        return np.rot90(frame.to_ndarray(format="rgb24", width=width, height=height), frame.rotation // 90)
