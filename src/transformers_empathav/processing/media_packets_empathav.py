"""Reads the compressed packets of a file and decodes them, as far as a damaged or cut off file allows."""

from math import inf

from .media_headers_empathav import PLAIN, held_share, is_complete
from .media_limits_empathav import MediaError, import_av


# Headers of these formats hold no length; FFmpeg guesses it from the bit rate. The guess is not used for checks.
_GUESSED_LENGTH = {"mp3", "aac", "ac3", "eac3", "amr", "h264", "hevc", "m4v", "asf", "mpegts", "mpeg"}
_SLACK = 0.1  # seconds by which the header's length may exceed that of the packets before a file counts as cut off
_UNKNOWN_FRAMES = 2**30  # what writers that cannot go back leave where the number of frames belongs
_UNKNOWN_BYTES = 2**30  # and where that of the bytes of plain samples does
_SMALL = 1 << 20  # bytes to which packets may unpack whatever the size of the file
_MOST_PACKETS = 10**6  # of all tracks; 300 s of sound in packets of 2.5 ms are 120,000
_RETRIES = 100  # errors in a row after which the rest of a file is given up


def demux(source, container, streams):
    """
    Read the compressed packets of a file in one pass without seeking; they are about as large as the file.

    Args:
        source (`Source`): The source.
        container (`av.container.InputContainer`): The open file.
        streams (`list[av.stream.Stream]`): The tracks wanted.

    Returns:
        `dict[int, list[av.Packet]]`: the packets of each track by its index, in the order of the file.

    Raises:
        `MediaError`: If the source is beyond a limit, or less of it than `MediaLimits.min_share` is there.
    """
    packets = {stream.index: [] for stream in streams}
    first, last, step, damage, errors = inf, -inf, 0.0, None, 0
    stated, held, count = stated_seconds(container), 0, 0
    while errors < _RETRIES:
        try:
            for packet in container.demux():
                source.check_time()
                errors = 0
                stream, begin = packet.stream, seconds_of(packet)
                if packet.is_corrupt and not _plain(stream):
                    damage = begin if damage is None else damage
                    continue
                if begin is not None and packet.size:
                    first, last = (
                        min(first, begin),
                        max(last, begin + float((packet.duration or 0) * packet.time_base)),
                    )
                    if last - first > source.limits.max_seconds:
                        source.check(max(last - first, stated or 0.0), "s long", "max_seconds")
                if stream.type == "video" and stream.average_rate:
                    step = max(step, 1 / float(stream.average_rate))
                if stream.index in packets and packet.size:
                    held, count = held + packet.size, count + 1
                    if count > _MOST_PACKETS:
                        raise source.error(f"it has more than {_MOST_PACKETS} packets; convert it, e.g. to mp4.")
                    if held > 2 * source.size + _SMALL:
                        raise source.error(
                            "its packets unpack to far more than the file holds; convert it, e.g. to mp4."
                        )
                    packets[stream.index].append(packet)
                    if stream.type == "video":
                        source.check(len(packets[stream.index]), "frames", "max_frames")
            break
        except MediaError:
            raise
        except (import_av().FFmpegError, IndexError):  # an index error is PyAV's where tracks appear on the way
            errors += 1
            damage = max(last, 0.0) if damage is None else damage
    there = max(last, 0.0)
    if source.head.startswith(PLAIN) and there:  # FFmpeg takes the file's length where the header announces more
        stated = max(stated or 0.0, there / held_share(source.head, source.size))
    if stated is not None and there < stated - _SLACK - min(step, 1.0):
        if damage is None and is_complete(container.format.name, source.head, source.size):
            source.warn(f"its header says {stated:.2f} s, but it holds {there:.2f} s, which are used.")
        else:
            source.check_share(there, stated, "s")
    elif damage is not None:
        source.warn(f"it is damaged or cut off at second {damage:.2f}; what can be read of it is used.")
    return packets


def seconds_of(packet):
    """Timestamp of a packet in seconds; `None` if the container holds none."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None or packet.time_base is None else float(stamp * packet.time_base)


def stated_seconds(container):
    """Length by the header, `None` where it holds none or what a stream's writer left there before it was known."""
    streams = container.streams
    if container.format.name in _GUESSED_LENGTH or not container.duration or container.duration < 0:
        return None
    if any(stream.frames >= _UNKNOWN_FRAMES for stream in streams):
        return None
    seconds = container.duration / 1e6
    for stream in streams.audio:
        if _plain(stream) and seconds * (stream.codec_context.bit_rate or 0) / 8 >= _UNKNOWN_BYTES:
            return None
    lengths = [float(stream.duration * stream.time_base) for stream in streams if stream.duration and stream.time_base]
    return min(seconds, max(lengths)) if "mov" in container.format.name and lengths else seconds


def _plain(stream):
    """Whether a track holds plain samples: whatever there is of a cut off packet is good."""
    codec = stream.codec_context  # none where there is no decoder
    return stream.type == "audio" and codec is not None and codec.name.startswith("pcm_")


def decode_packet(source, stream, packet=None):
    """Frames of a packet, or those still in the decoder without one; `None` if it does not decode."""
    source.check_time()
    if packet is None:  # an empty packet drains the decoder; its time base is that of the frames
        packet = import_av().Packet()
        packet.stream, packet.time_base = stream, stream.time_base
    try:
        return stream.decode(packet)
    except import_av().FFmpegError:
        return None


def decode_all(source, stream, packets):
    """Decode a track from beginning to end, and yield its frames, and `None` for a packet that does not decode."""
    lost = 0
    for packet in [*packets, None]:
        frames = decode_packet(source, stream, packet)
        if frames is None and packet is not None:
            lost += 1
            yield None
        yield from frames or ()
    if lost:
        source.check_share(len(packets) - lost, len(packets), f"packets of stream {stream.index}")
