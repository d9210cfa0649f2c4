"""Reads the tracks of a media file: its sound, and the frames on screen at given times."""

from bisect import bisect_right
from collections import deque
from math import inf

import numpy as np

from .media_display_empathav import in_one_size, picture, pixel_aspect
from .media_limits_empathav import decoding_options, import_av
from .media_packets_empathav import decode_packet, demux, seconds_of
from .media_sound_empathav import SILENT, is_silent, read_sound


def read_tracks(source, container, want, sound, sampling_rate):
    """
    Demux a file once, decode its sound and prepare its video. Time zero of both is where the earlier one starts.

    Args:
        source (`Source`): The source.
        container (`av.container.InputContainer`): The open file.
        want (`str`):
            `"audio"` for the sound track alone, `"both"` for the video track and sound if there is any, `"any"` for
            the tracks that there are.
        sound (`np.ndarray` of shape `(samples,)`, *optional*): Sound to use in place of the file's.
        sampling_rate (`int`): Sampling rate of the sound returned, in Hz.

    Returns:
        `tuple[np.ndarray | None, VideoTrack | None]`: mono sound and the video track.

    Raises:
        `MediaError`: If a track that is asked for is missing, or the file is broken or beyond the limits.
    """
    video, heard = None, None
    if want != "audio":
        cover = import_av().stream.Disposition.attached_pic
        films = [stream for stream in _decodable(source, container.streams.video) if not stream.disposition & cover]
        best = container.streams.best("video")
        video = best if best in films else next(iter(films), None)
        if len(films) > 1:
            source.warn(f"it has {len(films)} video tracks; stream {video.index} is read and the others are not.")
    audio = []
    if sound is None:
        best = container.streams.best("audio")
        audio = sorted(_decodable(source, container.streams.audio), key=lambda stream: stream != best)
    if want == "any" and video is None and not audio:
        raise source.error("it has neither a video nor an audio track; give another file.")
    if want != "any" and not (audio if want == "audio" else video):
        missing, there = ("audio", "video") if want == "audio" else ("video", "audio")
        raise source.error(f"it has no {missing} track; give it as {there}, or give another file.")

    packets = demux(source, container, [*audio, *([] if video is None else [video])])
    if audio:
        sound, heard = read_sound(source, [(stream, packets[stream.index]) for stream in audio], sampling_rate)
        if video is not None and len(sound) and is_silent(sound):
            source.warn(SILENT)
            sound = heard = None
    if video is None:
        return sound, None
    track = VideoTrack(source, video, packets[video.index], heard)
    if heard is not None:
        later = heard - track.origin
        source.check(later + len(sound) / sampling_rate, "s long", "max_seconds")
        sound = np.pad(sound, (round(later * sampling_rate), 0))
    return sound, track


def _decodable(source, streams):
    """The streams that have a decoder; the others are named."""
    for stream in streams:
        if stream.codec_context is None:
            source.warn(f"no decoder is known for its {stream.type} stream {stream.index}, which is not read.")
    return [stream for stream in streams if stream.codec_context is not None]


class VideoTrack:
    """
    A demuxed video track. Decodes from the key frame before each time that is asked for.

    Args:
        source (`Source`): The source.
        stream (`av.VideoStream`): The track.
        packets (`list[av.Packet]`): All its packets in the order of the file.
        heard (`float`, *optional*): Second of the file at which its sound starts.
    """

    def __init__(self, source, stream, packets, heard):
        self.source, self.stream, self.packets = source, stream, packets
        source.check(stream.width * stream.height, "pixels a frame", "max_pixels")
        self.step = 1 / float(stream.average_rate or 25)
        if not packets:
            raise source.error("its video track is empty; give it as audio, or give another file.")
        keys = [(index, packet) for index, packet in enumerate(packets) if packet.is_keyframe] or [(0, packets[0])]
        self.times = None
        if any(packet.pts is None for packet in packets):  # no timestamps: frames are counted from the first one
            begin, end = 0.0, len(packets) * self.step
            self.keys = [(0.0, keys[0][0])]
        else:
            shown = [packet for packet in packets if not packet.is_discard] or [keys[0][1]]
            begin = min(seconds_of(packet) for packet in shown)
            last = max(shown, key=seconds_of)
            end = seconds_of(last) + (float((last.duration or 0) * last.time_base) or self.step)
            self.keys = sorted((seconds_of(packet), index) for index, packet in keys)
            self.times = np.array([seconds_of(packet) for packet in packets])
        self.origin = begin if heard is None else min(begin, heard)
        self.seconds = end - self.origin
        source.check(self.seconds, "s long", "max_seconds")
        stream.thread_type = "AUTO"
        stream.codec_context.options = decoding_options(source.limits)

    def at(self, times):
        """
        The frames on screen at the given times. Times outside the video give its first or last frame.

        Args:
            times (`np.ndarray` of shape `(frames,)`):
                Rising times in seconds; zero is the start of sound or video, the earlier one.

        Returns:
            `np.ndarray` of shape `(frames, height, width, 3)`: RGB, uint8, as a player shows them.
        """
        times = times + self.origin
        self._check_work(times)
        self.stream.codec_context.flush_buffers()
        pending, chosen, aspect = deque(times), [], pixel_aspect(self.stream)
        shown, kept, now, index, pixels, good, lost = None, None, -self.step, 0, 0, 0, 0
        while pending and index <= len(self.packets):
            key = self._key_before(pending[0])
            if index < key:
                self.stream.codec_context.flush_buffers()
                shown, index = None, key
            frames = decode_packet(
                self.source, self.stream, self.packets[index] if index < len(self.packets) else None
            )
            lost += frames is None
            for frame in frames or ():
                pixels += frame.width * frame.height
                self.source.check(frame.width * frame.height, "pixels a frame", "max_pixels")
                self.source.check_pixels(pixels)
                now = now + self.step if frame.time is None else frame.time
                if frame.is_corrupt:  # what was on screen before stays there
                    lost += 1
                    continue
                good += 1
                due = 0 if shown is None else sum(time < now for time in pending)
                if due:
                    chosen += [picture(shown, aspect, self.source.limits.max_side)] * due
                    pending = deque(list(pending)[due:])
                shown = kept = frame
            index += 1
        if lost or not good:
            self.source.check_share(good, good + max(lost, not good), "frames")
        if pending:
            chosen += [picture(kept, aspect, self.source.limits.max_side)] * len(pending)
        return in_one_size(chosen)

    def _key_before(self, time):
        return self.keys[max(bisect_right(self.keys, (time, inf)) - 1, 0)][1]

    def _check_work(self, times):
        """Refuse what would take too long before decoding begins, going by the header."""
        packets, done = 0, 0
        for time in times:
            begin = max(self._key_before(time), done)
            until = len(self.packets) if self.times is None else np.flatnonzero(self.times <= time)
            end = until if self.times is None else (until[-1] + 1 if len(until) else 1)
            packets, done = packets + max(0, end - begin), max(done, end)
        self.source.check_pixels(packets * self.stream.width * self.stream.height)
