"""Crops the frames of a clip to the speaker's face, with one square for all of them."""

import os
import threading

import numpy as np
from transformers.utils import logging

from .media_limits_empathav import MissingMediaError


logger = logging.get_logger(__name__)

_SIDE = 320  # longer side, in pixels, to which frames are scaled for the search
_SMALLEST = 0.08  # smallest face searched for, as a fraction of the frame's shorter side
_SEARCH = threading.Lock()  # a cascade keeps the frame that it searches, so only one thread may use it


class FaceCropper:
    """
    Crops the frames of a clip to the face in them, found by a Haar cascade (Viola and Jones, 2001).

    Only the largest face of each frame counts. The clip takes the box that is closest to those of all frames, so the
    crop does not jitter or follow a false detection. Without any face, frames stay whole. They also do if OpenCV is
    not installed, which is logged once.

    Args:
        cascade_path (`str` or `os.PathLike`): OpenCV's `haarcascade_frontalface_default.xml`, or another cascade.
        margin (`float`, *optional*, defaults to 0.1):
            Margin on each side of the box, as a fraction of its longer side.

    Raises:
        `MissingMediaError`: On the first call, if there is no such file.
    """

    def __init__(self, cascade_path, margin=0.1):
        self.cascade_path, self.margin = os.fspath(cascade_path), margin
        self._cascade = None

    def __call__(self, frames):
        """
        Crop frames to the face.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `np.ndarray` of shape `(frames, side, side, 3)`: the same square of each frame, or `frames` themselves if
                there is no face.
        """
        return self.crop(frames)[0]

    def crop(self, frames):
        """
        Crop frames to the face, and say whether there is one.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `tuple[np.ndarray, bool | None]`: what a call returns, and whether a face was found; `None` without OpenCV.
        """
        box = self.find(frames)
        if box is None:
            return frames, False if opencv() else None
        top, left, side = square_around(box, frames.shape[1:3], self.margin)
        return frames[:, top : top + side, left : left + side], True

    def find(self, frames):
        """
        Find the face of a clip.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `np.ndarray` of shape `(4,)`: left, top, width and height of its box in pixels; `None` without a face or
                OpenCV.
        """
        cv2 = opencv()
        if cv2 is None:
            logger.warning_once(
                "Faces are not cropped, whole frames are used: OpenCV with its cascades is not installed"
                " (pip install opencv-contrib-python-headless)."
            )
            return None
        height, width = frames.shape[1:3]
        scale = min(1.0, _SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        smallest = max(20, round(_SMALLEST * min(size)))
        with _SEARCH:
            if self._cascade is None:
                if not os.path.isfile(self.cascade_path):
                    raise MissingMediaError(
                        f"{self.cascade_path}: no such face cascade; assemble the checkpoint again."
                    )
                self._cascade = cv2.CascadeClassifier(self.cascade_path)
            boxes = []
            for frame in frames:
                grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
                found = self._cascade.detectMultiScale(grey, 1.1, 5, minSize=(smallest, smallest))
                boxes += sorted(map(tuple, found), key=lambda box: box[2] * box[3])[-1:]
        return most_agreed(np.array(boxes) / scale) if boxes else None

    def __getstate__(self):
        return {**self.__dict__, "_cascade": None}


def opencv():
    """OpenCV with its cascades as a module, `None` where it is not installed."""
    try:
        import cv2
        from cv2 import CascadeClassifier  # noqa: F401
    except ImportError:
        return None
    return cv2


def most_agreed(boxes):
    """The one of `boxes`, of shape `(boxes, 4)`, with the smallest summed distance to all others."""
    return boxes[np.abs(boxes[:, None] - boxes[None]).sum(axis=(1, 2)).argmin()]


def square_around(box, shape, margin):
    """
    Find the square around a box with a margin, shifted and if necessary shrunk to lie within the frame.

    Args:
        box (`np.ndarray` of shape `(4,)`): left, top, width and height in pixels.
        shape (`tuple[int, int]`): Height and width of the frame.
        margin (`float`): Margin on each side, as a fraction of the box's longer side.

    Returns:
        `tuple[int, int, int]`: top, left and side in pixels.
    """
    left, top, width, height = box
    side = min(round(max(width, height) * (1 + 2 * margin)), *shape)
    top, left = (
        min(max(round(begin + length / 2 - side / 2), 0), limit - side)
        for begin, length, limit in ((top, height, shape[0]), (left, width, shape[1]))
    )
    return top, left, side
