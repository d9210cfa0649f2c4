"""Small HEIC photos for tests, as phones write them: tiles of HEVC, put together by the index."""

import io
import struct

import av
import numpy as np


def box(kind, *content, version=None):
    """A box; with `version` a full one, whose flags are zero."""
    body = b"".join(content)
    body = body if version is None else struct.pack(">I", version << 24) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


def coded(picture, codec="libx265"):
    """A picture as HEVC or AV1: its header (`hvcC` or `av1C`) and its frame."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=1, options=options)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for frame in (av.VideoFrame.from_ndarray(picture, format="rgb24"), None):
            for packet in stream.encode(frame):
                container.mux(packet)
    with av.open(io.BytesIO(file.getvalue())) as container:
        packet = next(packet for packet in container.demux() if packet.size)
        return bytes(packet.stream.codec_context.extradata), bytes(packet)


def write_heif(tiles, size=None, turns=0, mirror=None, missing=0, avif=False):
    """
    A HEIC photo, or an AVIF one.

    Args:
        tiles (`list[list[np.ndarray]]`): Rows of pictures `(height, width, 3)` of one size.
        size (`tuple[int, int]`, *optional*): Width and height of the whole, smaller than the tiles together.
        turns (`int`): Quarter turns against the clock by which it is to be shown.
        mirror (`int`, *optional*): 0 shows it upside down, 1 with left and right exchanged.
        missing (`int`): Tiles that the index does not mention.
        avif (`bool`): Whether the tiles are coded as AV1.

    Returns:
        `bytes`
    """
    codec, kind, header, brand = (
        ("libsvtav1", b"av01", b"av1C", b"avif") if avif else ("libx265", b"hvc1", b"hvcC", b"heic")
    )
    parts = [coded(np.ascontiguousarray(tile), codec) for row in tiles for tile in row]
    (high, wide), count, whole = tiles[0][0].shape[:2], len(parts), len(parts) + 1
    width, height = size or (wide * len(tiles[0]), high * len(tiles))
    grid = struct.pack(">BBBBHH", 0, 0, len(tiles) - 1, len(tiles[0]) - 1, width, height)
    properties = [box(header, parts[0][0]), box(b"ispe", struct.pack(">II", wide, high), version=0)]
    properties += [box(b"ispe", struct.pack(">II", width, height), version=0), box(b"irot", bytes([turns]))]
    uses = [[1, 2]] * count + [[3, 4] if mirror is None else [3, 4, 5]]
    if mirror is not None:
        properties.append(box(b"imir", bytes([mirror])))
    items = [(item, kind) for item in range(1, whole)] + [(whole, b"grid")]
    described = [box(b"infe", struct.pack(">HH4s", item, 0, what), b"\0", version=2) for item, what in items]
    used = [struct.pack(">HB", item, len(use)) + bytes(use) for item, use in enumerate(uses, 1)]
    refers = [whole, count - missing, *range(1, whole - missing)]

    def meta(start):
        places, data = [], start
        for item, (_, frame) in enumerate(parts, 1):
            places.append(struct.pack(">HHHHII", item, 0, 0, 1, data, len(frame)))
            data += len(frame)
        places.append(struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(grid)))
        return box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            box(b"pitm", struct.pack(">H", whole), version=0),
            box(b"iinf", struct.pack(">H", len(items)), *described, version=0),
            box(
                b"iref",
                box(b"dimg", struct.pack(f">{len(refers)}H", *refers)),
                version=0,
            ),
            box(b"iprp", box(b"ipco", *properties), box(b"ipma", struct.pack(">I", len(used)), *used, version=0)),
            box(b"iloc", struct.pack(">HH", 0x4400, len(places)), *places, version=1),
            box(b"idat", grid),
            version=0,
        )

    beginning = box(b"ftyp", brand, bytes(4), b"mif1" + brand)
    start = len(beginning) + len(meta(0)) + 8
    return beginning + meta(start) + box(b"mdat", *(frame for _, frame in parts))
