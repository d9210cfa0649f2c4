"""The square around a speaker's face, the same for all frames of a clip."""

import os
import threading

import numpy as np
from transformers.utils import logging

from .media_sources_empathav import MissingMediaError


logger = logging.get_logger(__name__)

_SIDE = 320  # longer side, in pixels, of the grey frames that are searched
_SMALLEST = 0.08  # shorter side of the frame to the smallest face looked for
_SEARCH = threading.Lock()  # a cascade holds the frame it searches


class FaceCropper:
    """
    Crops the frames of a clip to the face in them, found by a Haar cascade (Viola and Jones, 2001).

    In each frame the largest face counts. Of these boxes the clip takes the one that agrees best with all others, so
    the crop neither trembles nor follows a stray find. A clip without any face stays whole, and so does every clip
    where OpenCV is not installed, which is logged once.

    Args:
        cascade_path (`str` or `os.PathLike`): OpenCV's `haarcascade_frontalface_default.xml`, or another cascade.
        margin (`float`, defaults to 0.1): What is added on each side of the box, as a part of its side.

    Raises:
        MissingMediaError: On the first call, if there is no such file.
    """

    def __init__(self, cascade_path, margin=0.1):
        self.cascade_path, self.margin = os.fspath(cascade_path), margin
        self._cascade = None

    def __call__(self, frames):
        """
        Crop frames.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `np.ndarray` of shape `(frames, side, side, 3)`: The same square of each frame, or `frames` as they are.
        """
        box = self.find(frames)
        if box is None:
            return frames
        top, left, side = square_around(box, frames.shape[1:3], self.margin)
        return frames[:, top : top + side, left : left + side]

    def find(self, frames):
        """
        Find the box of the clip's face.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `np.ndarray` of shape `(4,)`: left, top, width and height in pixels; `None` without face or OpenCV.
        """
        try:
            import cv2
            from cv2 import CascadeClassifier
        except ImportError:
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
                self._cascade = CascadeClassifier(self.cascade_path)
            boxes = []
            for frame in frames:
                grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
                found = self._cascade.detectMultiScale(grey, 1.1, 5, minSize=(smallest, smallest))
                boxes += sorted(map(tuple, found), key=lambda box: box[2] * box[3])[-1:]
        return most_agreed(np.array(boxes) / scale) if boxes else None

    def __getstate__(self):
        return {**self.__dict__, "_cascade": None}


def most_agreed(boxes):
    """The one of `boxes`, of shape `(boxes, 4)`, with the least distance to all others."""
    return boxes[np.abs(boxes[:, None] - boxes[None]).sum(axis=(1, 2)).argmin()]


def square_around(box, shape, margin):
    """
    The square around a box with a margin, moved and where need be shrunk to lie within the frame.

    Args:
        box (`np.ndarray` of shape `(4,)`): left, top, width and height in pixels.
        shape (`tuple[int, int]`): Height and width of the frame.
        margin (`float`): What is added on each side, as a part of the box's longer side.

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
