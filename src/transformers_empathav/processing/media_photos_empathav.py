"""Reads photos: by Pillow in named formats, and HEIC, which Pillow does not read, out of its tiles."""

import re

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from .media_display_empathav import on_white
from .media_heif_empathav import read_heif


# Named, since others of Pillow's readers run programs (EPS runs Ghostscript) or open what a file names.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
_SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")  # how a scan of a JPEG picture begins
_MOST_SCANS = 100
_FULL_SIXTEEN = 257  # 65535 / 255


def open_photo(source, file, head):
    """
    Read a photo as it is meant to be seen: upright, and on a white ground where it is transparent.

    Args:
        source (`Source`): The source.
        file (`CheckedFile`): Its content.
        head (`bytes`): The first bytes.

    Returns:
        `PIL.Image.Image`: RGB, scaled down to `MediaLimits.max_side`.

    Raises:
        `MediaError`: If it is no photo of a known format, is damaged, or beyond the limits.
    """
    file.seek(0)
    if head[4:8] == b"ftyp" and not (head[8:12] == b"avif" and features.check("avif") and _opens_avif(file)):
        image = read_heif(source, file)
    else:
        image = _read(source, file)
    image.thumbnail((source.limits.max_side, source.limits.max_side))
    return image


def _opens_avif(file):
    """Whether Pillow takes an AVIF photo. It refuses some that are made of tiles, which are then read as HEIC is."""
    try:
        Image.open(file, formats=["AVIF"])
    except UnidentifiedImageError:
        return False
    except Image.DecompressionBombError:
        pass  # said when it is read
    return True


def _read(source, file):
    Image.init()
    try:
        image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise source.error(f"{error}; give a smaller one, or raise PIL.Image.MAX_IMAGE_PIXELS.") from None
    except UnidentifiedImageError:
        raise source.error(
            "it is no media file that can be read, or is cut off before its index; check that it plays, or convert it,"
            " e.g. with ffmpeg, to mp4 or wav."
        ) from None
    source.check(image.width * image.height, "pixels", "max_pixels")
    if image.format in ("JPEG", "MPO"):  # a progressive one may go over all its pixels again and again
        file.seek(0)
        if (scans := len(_SCAN.findall(file.read(source.size)))) > _MOST_SCANS:
            raise source.error(f"it has {scans} scans, and no camera writes more than {_MOST_SCANS}; save it anew.")
    if image.format not in ("MPO", "TIFF") and (count := getattr(image, "n_frames", 1)) > 1:
        source.warn(f"it moves, but only the first of its {count} pictures is read; convert it to mp4 to read all.")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise source.error(f"this photo is damaged or cut off ({error}); copy or take it again.") from None
    return in_colour(source, upright(source, image))


def upright(source, image):
    """A picture turned as its EXIF data say; data that cannot be read do no harm."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        source.warn(f"its EXIF data cannot be read ({error}), so it is not turned.")
        return image


def in_colour(source, image):
    """A picture of any mode as RGB; 16-bit grey over its full range, which Pillow would cut off at 255."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise source.error("its numbers are no grey levels of 16 bits; convert it to 8 bits.")
        image = Image.fromarray(np.round(grey / _FULL_SIXTEEN).astype(np.uint8))
    if image.mode == "F":
        raise source.error("its pixels are floating-point numbers without a known range; convert it to 8 bits.")
    return on_white(image) if image.has_transparency_data else image.convert("RGB")
