"""Photos: named formats, thin pictures, sixteen bits, damaged EXIF data."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from transformers_empathav.processing.media_empathav import Clip, MediaError, MediaLimits, encode_clips, load_clip


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


PHOTO = Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_photos_of_the_named_formats(format):
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format in ("JPEG", "AVIF") else {}
    image = PHOTO if format not in ("JPEG", "AVIF") else Image.new("RGB", (30, 20), (200, 100, 50))
    (clip,) = load_clip(saved(image, format, **options), num_frames=2)
    assert clip.audio is None and clip.frames.shape == (2, 20, 30, 3)
    assert np.abs(clip.frames[0].astype(int) - np.asarray(image)).max() < 6


@pytest.mark.parametrize("format", ["EPS", "PPM", "TGA", "PCX", "ICO", "PDF", "SGI", "DDS", "IM"])
def test_other_formats_of_pillow_are_refused_and_nothing_is_run(format, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: pytest.fail("Ghostscript was run"))
    with pytest.raises(MediaError, match="the given bytes: it is no media file that can be read"):
        load_clip(saved(PHOTO, format))
    with pytest.raises(MediaError, match="no media file"):
        load_clip(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")


@pytest.mark.parametrize("size", [(50, 1), (1, 50), (50, 3), (3, 50), (3, 3), (1, 1), (3, 1), (50, 4), (2000, 1)])
def test_thin_pictures_are_read_as_they_are(size, processor):
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    (clip,) = load_clip(saved(image, "PNG"), num_frames=1)
    if width <= 1280:
        assert np.array_equal(clip.frames[0], pixels)
    else:
        assert clip.frames.shape == (1, 1, 1280, 3)
        clip = Clip(None, pixels[None], 0, 1)
    encoded = encode_clips([clip], processor.feature_extractor, processor.image_processor)["pixel_values_videos"]
    wanted = processor.image_processor(images=image, input_data_format="channels_last", return_tensors="np")
    large = image.resize((encoded.shape[-1], encoded.shape[-2]), Image.Resampling.BILINEAR)
    assert np.array_equal(encoded[0], wanted["pixel_values"])
    assert np.abs(encoded[0, 0] - (np.asarray(large) / 127.5 - 1).transpose(2, 0, 1)).max() < 0.02  # never transposed


def test_a_frame_of_a_thin_array_keeps_its_axes(processor):
    frames = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 3), dtype=np.uint8)  # as (3, 64, 3) it could be both
    (clip,) = load_clip(frames, num_frames=2)
    encoded = encode_clips([clip], processor.feature_extractor, processor.image_processor)["pixel_values_videos"]
    large = Image.fromarray(frames[0]).resize((encoded.shape[-1], encoded.shape[-2]), Image.Resampling.BILINEAR)
    assert np.abs(encoded[0, 0] - (np.asarray(large) / 127.5 - 1).transpose(2, 0, 1)).max() < 0.02


def test_sixteen_bits_of_grey_keep_their_range():
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for format in ("PNG", "TIFF"):
        frame = load_clip(saved(Image.fromarray(levels), format))[0].frames[0]
        assert np.array_equal(frame[..., 0].ravel(), np.arange(256)) and (frame == frame[..., :1]).all()
    with pytest.raises(MediaError, match="floating-point numbers"):
        load_clip(saved(Image.fromarray(levels.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode(mode):
    image = PHOTO.convert("L").convert("LA").convert("PA") if mode == "PA" else PHOTO.convert(mode)
    assert load_clip([image])[0].frames.shape == (8, 20, 30, 3)


def test_exif_data_turn_a_photo_and_do_no_harm_where_they_are_broken(caplog):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    frame = load_clip(saved(PHOTO, "PNG", exif=exif))[0].frames[0]
    assert np.array_equal(frame, np.rot90(np.asarray(PHOTO), -1))
    broken = saved(PHOTO, "JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(30))
    assert load_clip(broken)[0].frames.shape == (8, 20, 30, 3)


def test_damaged_and_large_photos_are_refused(monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for format in ("PNG", "JPEG", "WEBP", "BMP"):
        data = saved(noise, format)
        with pytest.raises(MediaError, match="the given bytes: .* is damaged or c"):
            load_clip(data[: len(data) // 2])
    with pytest.raises(MediaError, match="4096 pixels, above the limit of 4000"):
        load_clip(saved(noise, "PNG"), limits=MediaLimits(max_pixels=4000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match="MAX_IMAGE_PIXELS"):
        load_clip(saved(noise, "PNG"))


def test_a_picture_of_endless_scans_is_refused_before_it_is_decoded():
    data = saved(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    assert load_clip(data)[0].frames.shape == (8, 1280, 1280, 3)
    scan = data[data.rindex(b"\xff\xda") : -2]  # the last one, again and again
    with pytest.raises(MediaError, match="the given bytes: it has [0-9]+ scans, and no camera writes more than 100"):
        load_clip(data[:-2] + scan * 100 + data[-2:])


def test_moving_pictures_move_or_say_that_they_do_not(caplog):
    grey = [Image.new("RGB", (16, 16), (40 * index,) * 3) for index in range(4)]
    (clip,) = load_clip(saved(grey[0], "PNG", save_all=True, append_images=grey[1:], duration=100), num_frames=4)
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 40, 80, 120] and not caplog.text
    load_clip(saved(grey[0], "WEBP", save_all=True, append_images=grey[1:], duration=100))
    assert "only the first of its 4 pictures is read" in caplog.text
