"""Reads HEIC photos, as phones take them: a grid of tiles, each a frame of HEVC or AV1, put together by the index."""

import struct

import numpy as np
from PIL import Image

from .media_limits_empathav import decoding_options, import_av


_CODECS = {b"hvc1": ("hevc", b"hvcC"), b"hev1": ("hevc", b"hvcC"), b"av01": ("libdav1d", b"av1C")}
_LARGEST_INDEX = 16 * 2**20  # bytes
_MOST_EXTENTS = 1 << 16  # pieces of all items


def read_heif(source, file):
    """
    Read the main picture of a HEIF file.

    Args:
        source (`Source`): The source.
        file (`CheckedFile`): Its content.

    Returns:
        `PIL.Image.Image`: RGB, upright.

    Raises:
        `MediaError`: If it is damaged, beyond the limits, or made in a way that is not read.
    """
    index = _Index(source, file)
    pixels = index.picture(index.primary)
    for kind, body in index.properties(index.primary):
        if kind == b"irot":  # quarter turns against the clock
            pixels = np.rot90(pixels, body[0] & 3)
        elif kind == b"imir":
            pixels = pixels[:, ::-1] if body[0] & 1 else pixels[::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _boxes(data):
    """The boxes that follow each other in `data`, as pairs of a type and a body."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, place + 8), 16
        size = size or len(data) - place
        if size < head:
            return
        yield kind, data[place + head : place + size]
        place += size


class _Reader:
    """Big-endian numbers one after the other."""

    def __init__(self, data, place=0):
        self.data, self.place = data, place

    def __call__(self, size):
        if self.place + size > len(self.data):
            raise ValueError("its index is cut off")
        self.place += size
        return int.from_bytes(self.data[self.place - size : self.place], "big")


class _Index:
    """The `meta` box: items, how they are described, where they lie, and which are made of which."""

    def __init__(self, source, file):
        self.source, self.file = source, file
        self.pixels = 0  # decoded so far
        boxes = dict(_boxes(self._find_meta()[4:]))
        reader = _Reader(boxes[b"pitm"])
        self.primary = reader(2 if reader(4) >> 24 == 0 else 4)
        self.idat = boxes.get(b"idat", b"")
        self.kinds, self.parts, self.places = {}, {}, {}
        self._read_items(boxes[b"iinf"])
        self._read_parts(boxes.get(b"iref", b"\0\0\0\0"))
        self._read_places(boxes[b"iloc"])
        described = dict(_boxes(boxes[b"iprp"]))
        self.described = list(_boxes(described[b"ipco"]))
        self.uses = self._read_uses(described[b"ipma"])

    def _find_meta(self):
        place = 0
        while True:
            self.file.seek(place)
            head = self.file.read(16)
            if len(head) < 8:
                raise self.source.error("it is cut off before its index; copy it again.")
            size, kind = struct.unpack_from(">I4s", head)
            long = size == 1 and len(head) == 16
            size = struct.unpack_from(">Q", head, 8)[0] if long else size
            if kind == b"meta":
                if not 8 < size < _LARGEST_INDEX:
                    raise self.source.error("its index is damaged; copy it again.")
                self.file.seek(place + (16 if long else 8))
                return self.file.read(size - (16 if long else 8))
            if size < 8:
                raise self.source.error("it holds no picture that can be read; convert it to JPEG.")
            place += size

    def _read_items(self, data):
        reader = _Reader(data)
        count = reader(2 if reader(4) >> 24 == 0 else 4)
        for kind, body in list(_boxes(data[reader.place :]))[:count]:
            entry = _Reader(body)
            version = entry(4) >> 24
            if kind == b"infe" and version >= 2:
                item = entry(2 if version == 2 else 4)
                entry(2)
                self.kinds[item] = entry(4).to_bytes(4, "big")

    def _read_parts(self, data):
        width = 2 if data[0] == 0 else 4
        for kind, body in _boxes(data[4:]):
            reader = _Reader(body)
            item, count = reader(width), reader(2)
            if kind == b"dimg":
                self.parts[item] = [reader(width) for _ in range(count)]

    def _read_places(self, data):
        reader = _Reader(data)
        version, sizes = reader(4) >> 24, reader(2)
        offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0
        left = _MOST_EXTENTS
        for _ in range(reader(2 if version < 2 else 4)):
            item = reader(2 if version < 2 else 4)
            method = reader(2) & 15 if version else 0
            reader(2)
            start, count = reader(base), reader(2)
            left -= count
            if left < 0:  # without widths they would take no bytes of the index
                raise self.source.error("its index is damaged; copy it again.")
            extents = []
            for _ in range(count):
                reader(index)
                extents.append((start + reader(offset), reader(length)))
            self.places[item] = method, extents

    def _read_uses(self, data):
        reader = _Reader(data)
        version = reader(4)
        wide, uses = version & 1, {}
        for _ in range(reader(4)):
            item, count = reader(2 if version >> 24 == 0 else 4), reader(1)
            uses[item] = [reader(2) & 0x7FFF if wide else reader(1) & 0x7F for _ in range(count)]
        return uses

    def properties(self, item):
        """What describes an item, in order."""
        return [self.described[use - 1] for use in self.uses.get(item, []) if 0 < use <= len(self.described)]

    def content(self, item):
        """The bytes of an item."""
        method, extents = self.places[item]
        if method > 1:
            raise self.source.error("it is made of other pictures in a way that is not read; convert it to JPEG.")
        if sum(length for _, length in extents) > self.source.size:
            raise self.source.error("one of its tiles is longer than the file; copy it again.")
        data = []
        for start, length in extents:
            if method == 1:
                data.append(self.idat[start : start + length])
            else:
                self.file.seek(start)
                data.append(self.file.read(length))
        return b"".join(data)

    def picture(self, item, depth=0):
        """An item as RGB pixels: a coded frame, or a grid of them."""
        kind = self.kinds.get(item)
        if kind in _CODECS:
            return self._decode(item, *_CODECS[kind])
        parts = self.parts.get(item, [])
        if kind == b"iden" and parts and depth < 2:
            return self.picture(parts[0], depth + 1)
        if kind != b"grid" or depth > 1:
            named = (kind or b"none").decode("latin-1")
            raise self.source.error(f"its picture is of the kind {named!r}, which is not read; convert it to JPEG.")
        reader = _Reader(self.content(item))
        width = 4 if reader(2) & 1 else 2
        rows, columns = reader(1) + 1, reader(1) + 1
        wide, high = reader(width), reader(width)
        self.source.check(wide * high, "pixels", "max_pixels")
        if not wide * high or len(parts) != rows * columns:
            raise self.source.error(f"it has {len(parts)} tiles for a grid of {rows} by {columns}; copy it again.")
        whole = np.zeros((high, wide, 3), np.uint8)
        top = 0
        for row in range(rows):
            left = 0
            for tile in (self.picture(part, depth + 1) for part in parts[row * columns : (row + 1) * columns]):
                target = whole[top : top + tile.shape[0], left : left + tile.shape[1]]
                target[:] = tile[: target.shape[0], : target.shape[1]]
                left += tile.shape[1]
            if left < wide:
                raise self.source.error("its tiles do not fill the picture; copy it again.")
            top += tile.shape[0]
        if top < high:
            raise self.source.error("its tiles do not fill the picture; copy it again.")
        return whole

    def _decode(self, item, codec, header):
        av = import_av()
        described = dict(self.properties(item))
        if b"ispe" in described:
            width, height = struct.unpack_from(">II", described[b"ispe"], 4)
            self.source.check(width * height, "pixels", "max_pixels")
        self.source.check_time()
        decoder = av.CodecContext.create(codec, "r")
        decoder.options = decoding_options(self.source.limits)
        decoder.extradata = bytes(described[header])
        frames = [*decoder.decode(av.Packet(self.content(item))), *decoder.decode(None)]
        if not frames:
            raise self.source.error("one of its tiles is damaged; copy it again.")
        self.source.check(frames[0].width * frames[0].height, "pixels", "max_pixels")
        self.pixels += sum(frame.width * frame.height for frame in frames)
        self.source.check_pixels(self.pixels)
        return frames[0].to_ndarray(format="rgb24")
