"""From decoded frames to pictures as a player shows them: upright, not mirrored, square pixels, one size."""

import struct
from fractions import Fraction

import numpy as np
from PIL import Image

from .media_limits_empathav import import_av


_SAME_SHAPE = 0.03  # pictures whose proportions differ by less are scaled to each other without borders
_ODD_PIXELS = 8  # pixels longer than that on one side are taken for an error of the header


def picture(frame, pixel_aspect, max_side):
    """
    A decoded frame as it is meant to be seen.

    Args:
        frame (`av.VideoFrame`): The frame.
        pixel_aspect (`Fraction`): Width of its pixels by their height.
        max_side (`int`): Longest side of the picture; larger ones are scaled down.

    Returns:
        `np.ndarray` of shape `(height, width, 3)`: RGB, uint8; what is transparent is white.
    """
    width, height = frame.width * float(pixel_aspect), float(frame.height)
    scale = min(1.0, max_side / max(width, height))
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    if any(component.is_alpha for component in frame.format.components):
        pixels = np.asarray(on_white(Image.fromarray(frame.to_ndarray(format="rgba", **size))))
    else:
        pixels = frame.to_ndarray(format="rgb24", **size)
    return turn(pixels, display_matrix(frame))


def pixel_aspect(stream):
    """Width of a track's pixels by their height, by its container or codec; 1 where neither says."""
    for stated in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if stated and Fraction(1, _ODD_PIXELS) <= stated <= _ODD_PIXELS:
            return Fraction(stated)
    return Fraction(1)


def display_matrix(frame):
    """The upper left 2x2 part of a frame's display matrix: x' = a x + c y, y' = b x + d y; `None` without one."""
    matrix = frame.side_data.get(import_av().sidedata.sidedata.Type.DISPLAYMATRIX)
    if matrix is None:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
    return a, b, c, d


def turn(pixels, matrix):
    """
    Show a picture by its display matrix, to the nearest quarter turn. A negative determinant mirrors it.

    Args:
        pixels (`np.ndarray` of shape `(height, width, 3)`): The picture as it is stored.
        matrix (`tuple[int, int, int, int]`, *optional*): Of [`display_matrix`].
    """
    if matrix is None or matrix[0] * matrix[3] == matrix[1] * matrix[2]:
        return pixels
    a, b, c, d = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        right, down = a, d
    else:  # the stored columns become rows
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def in_one_size(pictures):
    """
    Bring pictures to the size of the largest one. Other proportions are kept and get black borders.

    Args:
        pictures (`list[np.ndarray]` of shape `(height, width, 3)`): RGB, uint8.

    Returns:
        `np.ndarray` of shape `(pictures, height, width, 3)`
    """
    if len({one.shape for one in pictures}) > 1:
        height, width, _ = max((one.shape for one in pictures), key=lambda shape: shape[0] * shape[1])
        pictures = [_fit(one, height, width) for one in pictures]
    return np.stack(pictures)


def _fit(pixels, height, width):
    if pixels.shape[:2] == (height, width):
        return pixels
    tall, wide = height / pixels.shape[0], width / pixels.shape[1]
    scale = min(tall, wide)
    if max(tall, wide) <= scale * (1 + _SAME_SHAPE):
        size = width, height
    else:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    scaled = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    whole = np.zeros((height, width, 3), np.uint8)
    whole[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return whole


def on_white(image):
    """A picture with transparency, as RGB on a white ground."""
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image).convert("RGB")
