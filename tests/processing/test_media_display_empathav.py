"""Pictures as a player shows them: turned, mirrored, with square pixels, in one size, on white."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from clips import with_matrix, write_clip
from heif import write_heif
from transformers_empathav.processing.media_display_empathav import in_one_size, turn
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, encode_clips, load_clip


RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 200, 20), (20, 20, 230), (128, 128, 128)


def quarters(index=0, size=(96, 64)):
    """Red at the upper left, green at the upper right, blue at the lower left, grey at the lower right."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = RED, GREEN
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = BLUE, GREY
    return picture


def seen(picture):
    """The four quarters of a picture by name: upper left, upper right, lower left, lower right."""
    names = {"red": RED, "green": GREEN, "blue": BLUE, "grey": GREY}
    high, wide = picture.shape[0], picture.shape[1]
    points = [picture[high * y // 4, wide * x // 4].astype(int) for y in (1, 3) for x in (1, 3)]
    return [min(names, key=lambda name: np.abs(point - names[name]).sum()) for point in points]


# What a player shows: x' = a x + c y, y' = b x + d y, with y downwards
@pytest.mark.parametrize(
    ("matrix", "shown", "shape"),
    [
        ((1, 0, 0, 1), ["red", "green", "blue", "grey"], (64, 96)),
        ((0, 1, -1, 0), ["blue", "red", "grey", "green"], (96, 64)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), ["grey", "blue", "green", "red"], (64, 96)),
        ((0, -1, 1, 0), ["green", "grey", "red", "blue"], (96, 64)),
        ((-1, 0, 0, 1), ["green", "red", "grey", "blue"], (64, 96)),  # a selfie: left and right exchanged
        ((1, 0, 0, -1), ["blue", "grey", "red", "green"], (64, 96)),
        ((0, 1, 1, 0), ["red", "blue", "green", "grey"], (96, 64)),  # a selfie held upright
        ((0, -1, -1, 0), ["grey", "green", "blue", "red"], (96, 64)),
    ],
)
def test_turned_and_mirrored_videos_are_shown_by_their_matrix(tmp_path, matrix, shown, shape):
    data = write_clip(tmp_path / "a.mp4", seconds=0.5, fps=10, audio_rate=None, picture=quarters).read_bytes()
    frame = load_clip(with_matrix(data, *matrix))[0].frames[0]
    assert frame.shape == (*shape, 3) and seen(frame) == shown


def test_a_turn_that_is_no_quarter_goes_to_the_nearest_and_an_empty_matrix_to_none():
    picture = quarters()
    assert np.array_equal(turn(picture, (9, 2, -2, 9)), picture)
    assert np.array_equal(turn(picture, (2, 9, -9, 2)), np.rot90(picture, -1))
    for nothing in (None, (0, 0, 0, 0), (1, 1, 1, 1)):
        assert turn(picture, nothing) is picture


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [(Fraction(4, 3), (64, 128)), (Fraction(8, 9), (64, 85)), (Fraction(2), (64, 192)), (Fraction(1), (64, 96))],
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, aspect, shape):
    path = write_clip(tmp_path / "a.mkv", seconds=0.5, fps=10, audio_rate=None, picture=quarters, pixel_aspect=aspect)
    frame = load_clip(path)[0].frames[0]
    assert frame.shape == (*shape, 3) and seen(frame) == ["red", "green", "blue", "grey"]
    small = load_clip(path, limits=MediaLimits(max_side=48))[0].frames[0]
    assert small.shape[1] == 48 and small.shape[0] == round(48 * shape[0] / shape[1])


def test_a_turned_video_of_pixels_that_are_not_square_is_stretched_before_it_is_turned(tmp_path):
    path = write_clip(tmp_path / "a.mp4", seconds=0.5, fps=10, audio_rate=None, pixel_aspect=Fraction(4, 3))
    assert load_clip(with_matrix(path.read_bytes(), 0, 1, -1, 0))[0].frames.shape[1:3] == (128, 64)


def write_sizes(path, pictures):
    """A film of JPEG pictures, ten a second, each of its own size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuvj420p"
        for index, picture in enumerate(pictures):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)
            packet = av.Packet(file.getvalue())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 10), True
            packet.pts = packet.dts = index
            packet.duration = 1
            container.mux(packet)
    return path


def test_frames_that_change_their_size_come_in_that_of_the_largest(tmp_path, processor):
    sizes = [(96, 64), (48, 32), (64, 64)]  # the same proportions, then others
    path = write_sizes(tmp_path / "a.mkv", [quarters(size=size) for size in sizes])
    (clip,) = load_clip(path, num_frames=3)
    assert clip.frames.shape == (3, 64, 96, 3)
    assert [seen(frame) for frame in clip.frames[:2]] == [["red", "green", "blue", "grey"]] * 2
    square = clip.frames[2]  # not stretched: 64 pixels wide, between black borders
    assert seen(square[:, 16:80]) == ["red", "green", "blue", "grey"] and not square[:, :14].any()
    pixels = encode_clips([clip], processor.feature_extractor, processor.image_processor)["pixel_values_videos"]
    assert pixels.shape[:3] == (1, 3, 3)


def test_streams_of_different_sizes_one_after_the_other(tmp_path):
    first = write_clip(tmp_path / "first.ts", 0.4, 10, (96, 64), None)
    second = write_clip(tmp_path / "second.ts", 0.4, 10, (48, 32), None, times=[0.4, 0.5, 0.6, 0.7])
    joined = first.read_bytes() + second.read_bytes()
    assert load_clip(joined, num_frames=6)[0].frames.shape == (6, 64, 96, 3)
    assert in_one_size([np.zeros((2, 1, 3), np.uint8), np.zeros((1, 5, 3), np.uint8)]).shape == (2, 1, 5, 3)


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p", "yuv444p", "gray"])
def test_ten_bits_and_other_pixel_formats_give_the_same_colours(tmp_path, pixel_format):
    codec = "libx265" if "10" in pixel_format else "ffv1"
    options = {"seconds": 0.3, "fps": 10, "audio_rate": None, "video_codec": codec, "pixel_format": pixel_format}
    path = write_clip(tmp_path / "a.mkv", picture=quarters, **options)
    frame = load_clip(path)[0].frames[0].astype(int)
    wanted = quarters().astype(int)
    if pixel_format == "gray":
        wanted = np.repeat(np.round(wanted @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    assert np.abs(frame - wanted)[8:24, 8:40].max() < 12 and np.abs(frame - wanted)[40:56, 56:88].max() < 12


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (*RED, 255)
    pixels[4:] = (0, 0, 0, 0)  # a black that nobody sees
    for name in ("a.png", "a.webp"):
        Image.fromarray(pixels).save(tmp_path / name, lossless=True)
        frame = load_clip(tmp_path / name)[0].frames[0]
        assert (frame[:4] == RED).all() and (frame[4:] == 255).all()
    assert np.array_equal(load_clip([Image.fromarray(pixels)])[0].frames[0], frame)
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "rgba"
        for part in (av.VideoFrame.from_ndarray(pixels, format="rgba"), None):
            for packet in stream.encode(part):
                container.mux(packet)
    assert np.array_equal(load_clip(tmp_path / "a.mov")[0].frames[0], frame)


def gif(screen, *frames):
    """An animation of plain rectangles `(left, top, width, height, colour)` on a screen `(width, height)`."""
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + bytes([*RED, *GREEN, *BLUE, *GREY])
    for left, top, width, height, colour in frames:
        bits = "".join(f"{code:03b}"[::-1] for _ in range(width * height) for code in (4, colour)) + "101"
        coded = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
        pieces = [coded[at : at + 255] for at in range(0, len(coded), 255)]
        blocks = b"".join(bytes([len(piece)]) + piece for piece in pieces)
        data += b"\x21\xf9\x04" + struct.pack("<BHB", 4, 10, 0) + b"\0"
        data += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02" + blocks + b"\0"
    return data + b"\x3b"


@pytest.mark.parametrize("first", [(0, 0, 4, 4, 1), (2, 2, 4, 4, 1), (4, 4, 4, 4, 1)])
def test_a_gif_has_the_size_of_its_screen(first):
    (clip,) = load_clip(gif((8, 8), first, (0, 4, 4, 4, 2)), num_frames=2)
    assert clip.frames.shape == (2, 8, 8, 3) and clip.end == 0.2
    left, top = first[:2]
    assert (clip.frames[0, top : top + 4, left : left + 4] == GREEN).all()
    assert (clip.frames[1, 4:, :4] == BLUE).all()
    outside = np.ones((8, 8), bool)
    outside[top : top + 4, left : left + 4] = False
    assert (clip.frames[0][outside] == RED).all()  # the background colour


def test_a_small_file_that_decodes_for_minutes_is_refused_before_it_does(tmp_path):
    frames = [(0, 0, 4, 4, index % 4) for index in range(200)]
    bomb = gif((5000, 5000), *frames)
    with pytest.raises(MediaError, match=r"the given bytes: .* pixels to decode for each byte.*max_pixels_per_byte"):
        load_clip(bomb)
    with pytest.raises(MediaError, match="pixels to decode, above the limit of .*MediaLimits.max_total_pixels"):
        load_clip(gif((5000, 5000), *frames * 5))
    with pytest.raises(MediaError, match=r"reading it takes longer than the limit of 0.05 s.*max_decode_seconds"):
        load_clip(gif((2000, 2000), *frames), limits=MediaLimits(max_decode_seconds=0.05))


TILES = [
    [np.full((64, 96, 3), (40 * row + 30, 100 * column + 20, 90), np.uint8) for column in range(2)] for row in range(5)
]


@pytest.mark.parametrize(
    ("options", "corners"),
    [
        ({}, [(0, 0), (0, 1), (4, 0), (4, 1)]),
        ({"turns": 1}, [(0, 1), (4, 1), (0, 0), (4, 0)]),
        ({"turns": 2}, [(4, 1), (4, 0), (0, 1), (0, 0)]),
        ({"mirror": 1}, [(0, 1), (0, 0), (4, 1), (4, 0)]),
        ({"mirror": 0}, [(4, 0), (4, 1), (0, 0), (0, 1)]),
        ({"avif": True}, [(0, 0), (0, 1), (4, 0), (4, 1)]),
    ],
)
def test_a_photo_made_of_tiles_is_put_together(options, corners):
    (clip,) = load_clip(write_heif(TILES, size=(180, 300), **options), num_frames=2)
    assert clip.frames.shape == ((2, 180, 300, 3) if options.get("turns") == 1 else (2, 300, 180, 3))
    frame = clip.frames[0].astype(int)
    for (row, column), point in zip(corners, (frame[5, 5], frame[5, -5], frame[-5, 5], frame[-5, -5])):
        assert np.abs(point - TILES[row][column][0, 0]).max() < 6


def test_a_photo_that_lacks_tiles_or_is_too_large_is_refused():
    data = write_heif(TILES)
    for broken, message in (
        (write_heif(TILES, missing=1), "it has 9 tiles for a grid of 5 by 2"),
        (write_heif(TILES, size=(1000, 300)), "its tiles do not fill the picture"),
        (data[: len(data) // 4], "the given bytes: it is"),
        (data[:-60], "the given bytes: it is damaged"),
    ):
        with pytest.raises(MediaError, match=message) as error:
            load_clip(broken)
        assert "\n" not in str(error.value)
    with pytest.raises(MediaError, match="pixels, above the limit of 5000"):
        load_clip(data, limits=MediaLimits(max_pixels=5000))


def test_an_index_that_asks_for_more_than_the_file_holds_is_refused_at_once():
    data = bytearray(write_heif(TILES))
    place = data.index(b"iloc") + 4 + 4  # sizes of its fields, then the number of items
    bomb = data[:]
    bomb[place : place + 2] = b"\0\0"  # extents without offset and length, which take no byte of the index
    for item in range(10):
        bomb[place + 4 + 8 * item + 6 : place + 4 + 8 * item + 8] = b"\xff\xff"
    with pytest.raises(MediaError, match="the given bytes: its index is damaged"):
        load_clip(bytes(bomb))
    first = place + 4 + 8  # offset and length of the first tile
    data[first + 4 : first + 8] = struct.pack(">I", len(data) + 1)
    with pytest.raises(MediaError, match="the given bytes: one of its tiles is longer than the file"):
        load_clip(bytes(data))
    with pytest.raises(MediaError, match="pixels to decode, above the limit of 50000"):
        load_clip(write_heif(TILES), limits=MediaLimits(max_total_pixels=50_000))


def test_pictures_larger_than_their_header_says_are_not_decoded(tmp_path):
    data = write_clip(tmp_path / "a.mkv", seconds=0.5, fps=10, size=(640, 640), audio_rate=None).read_bytes()
    width, height = b"\xb0\x82\x02\x80", b"\xba\x82\x02\x80"
    assert width in data and height in data
    small = data.replace(width, b"\xb0\x82\0\x10").replace(height, b"\xba\x82\0\x10")
    with pytest.raises(MediaError, match="pixels a frame, above the limit of 90000|0 of .* frames can be read"):
        load_clip(small, limits=MediaLimits(max_pixels=90_000))


def test_a_track_without_a_decoder_is_named(tmp_path, caplog):
    data = write_clip(tmp_path / "a.mkv", seconds=0.5, fps=10, audio_codec="flac").read_bytes()
    strange = data.replace(b"V_MPEG4/ISO/AVC", b"V_STRANGE/1/AVC")
    assert load_clip(strange, want="any")[0].frames is None
    assert "no decoder is known for its video stream 0" in caplog.text
    with pytest.raises(MediaError, match="it has no video track"):
        load_clip(strange)
    assert load_clip(data.replace(b"A_FLAC", b"A_ODDS"))[0].audio is None


def test_several_video_tracks_are_named(tmp_path, caplog):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for stream in streams:
            for frame in (av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)), None):
                for packet in stream.encode(frame):
                    container.mux(packet)
    load_clip(tmp_path / "a.mkv")
    assert "it has 2 video tracks; stream 0 is read" in caplog.text
