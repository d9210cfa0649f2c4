"""What the headers of files say about their length, and what they ought to say where a writer could not go back."""

import struct


_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)  # written before the length is known
_HUGE = 2**30  # no length of samples, but what stands for an unknown one
_W64_GUID = 16
_NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")  # boxes of MP4 that hold boxes
_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}  # boxes that say how many samples there are, and where in them
PLAIN = (b"RIFF", b"FORM", b".snd", b"caff")  # beginnings of what `held_share` knows
OPEN_ENDED = (b"FORM", b"riff", b"RF64", b"BW64")  # beginnings of what `mend` mends


def is_complete(format, head, size):
    """
    Whether a file is as long as its outermost structure says. Its header may still state more than it ever held.

    Args:
        format (`str`): Name of its container.
        head (`bytes`): Its first bytes.
        size (`int`): Its length in bytes.
    """
    if "mov" in format:
        return True  # its packets lie where the index says: one that is missing is noticed
    if "matroska" not in format:
        return False
    place = head.find(b"\x18\x53\x80\x67")  # the segment: an id, then its length in one to eight bytes
    if place < 0 or len(head) < place + 12:
        return False
    width = 9 - head[place + 4].bit_length()
    if not 1 <= width <= 8:
        return False
    length = int.from_bytes(head[place + 4 : place + 4 + width], "big") - (1 << 7 * width)
    return place + 4 + width + length <= size


def count_samples(file, begin, end):
    """
    How many samples the index of an MP4 file lists. A few bytes may state billions, for each of which FFmpeg takes
    memory before it looks at one.

    Args:
        file (`CheckedFile`): The file.
        begin (`int`): Where its boxes begin.
        end (`int`): Where they end.

    Returns:
        `int`
    """
    count, place = 0, begin
    while place + 8 <= end:
        file.seek(place)
        head = file.read(32)
        size, kind = struct.unpack_from(">I4s", head)
        inner = place + 8
        if size == 1 and len(head) >= 16:
            (size,), inner = struct.unpack_from(">Q", head, 8), place + 16
        after = end if size == 0 else min(place + size, end)
        if after < inner:
            break
        if kind in _NESTED:
            count += count_samples(file, inner, after)
        elif kind in _COUNTS:
            at = inner - place + _COUNTS[kind]
            count += int.from_bytes(head[at : at + 4], "big")
        place = after
    return count


def held_share(head, size):
    """
    Which share of the samples that a header announces a file of plain samples holds.

    Args:
        head (`bytes`): Its first bytes.
        size (`int`): Its length in bytes.

    Returns:
        `float`: above 0, at most 1; 1 also where the header announces nothing.
    """
    place, length = _find_samples(head)
    left = size - place
    return left / length if 0 < left < length < _HUGE else 1.0


def _find_samples(head):
    """Where the samples begin, and how many bytes of them are announced."""
    if head[:4] == b".snd" and len(head) >= 12:
        return struct.unpack_from(">II", head, 4)
    wave, caf = head[:4] == b"RIFF" and head[8:12] == b"WAVE", head[:4] == b"caff"
    if not wave and not caf and head[8:12] not in (b"AIFF", b"AIFC"):
        return 0, 0
    kinds, form = ((b"data",), ">4sq") if caf else ((b"data", b"SSND"), "<4sI" if wave else ">4sI")
    place, width = 8 if caf else 12, struct.calcsize(form)
    while place + width <= len(head):
        kind, length = struct.unpack_from(form, head, place)
        if kind in kinds:
            return place + width, length
        place += width + max(length, 0) + (0 if caf else length % 2)
    return 0, 0


def mend(head, size):
    """
    Fill in lengths that a stream's writer left open, where FFmpeg would not read the file otherwise.

    Args:
        head (`bytes`): The first bytes of a file.
        size (`int`): Its length in bytes.

    Returns:
        `bytes`: as many bytes, changed for AIFF, Wave64 and RF64 without lengths.
    """
    mended = bytearray(head)
    try:
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            _mend_aiff(mended, size)
        elif head[:4] == b"riff" and head[24:28] == b"wave":
            _mend_w64(mended, size)
        elif head[:4] in (b"RF64", b"BW64") and head[12:16] == b"ds64":
            _mend_rf64(mended, size)
    except (struct.error, ZeroDivisionError):
        return head
    return bytes(mended)


def _mend_aiff(head, size):
    place, common = 12, None
    while place + 8 <= len(head):
        kind, length = struct.unpack_from(">4sI", head, place)
        if kind == b"COMM":
            common = place
        if kind == b"SSND":
            if length not in _UNKNOWN or common is None:
                return
            channels, _, bits = struct.unpack_from(">HIH", head, common + 8)
            struct.pack_into(">I", head, 4, size - 8)
            struct.pack_into(">I", head, place + 4, size - place - 8)
            struct.pack_into(">I", head, common + 10, (size - place - 16) // (channels * ((bits + 7) // 8)))
            return
        place += 8 + length + length % 2


def _mend_w64(head, size):
    place = 2 * _W64_GUID + 8
    while place + _W64_GUID + 8 <= len(head):
        (length,) = struct.unpack_from("<Q", head, place + _W64_GUID)
        if head[place : place + 4] == b"data":
            if length in (*_UNKNOWN, _W64_GUID + 8):
                struct.pack_into("<Q", head, _W64_GUID, size)
                struct.pack_into("<Q", head, place + _W64_GUID, size - place)
            return
        if length < _W64_GUID + 8:
            return
        place += (length + 7) // 8 * 8


def _mend_rf64(head, size):
    place = 12
    while place + 8 <= len(head):
        kind, length = struct.unpack_from("<4sI", head, place)
        if kind == b"data":
            (stated,) = struct.unpack_from("<Q", head, 28)
            if length in _UNKNOWN and stated in _UNKNOWN:
                struct.pack_into("<QQQ", head, 20, size - 8, size - place - 8, 0)
            return
        place += 8 + length + length % 2
