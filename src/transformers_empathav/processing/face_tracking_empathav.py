"""Crops the frames of a clip to the largest face that stays, turned upright: who is in view, where, and how tilted."""

import math

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from .face_crop_empathav import Faces, most_agreed, square_around
from .face_detector_empathav import Face, FaceDetector, shared


# What a Haar cascade calls a face is a square of this share of the detector's box in height, around the same middle.
# Encoders that learned from the one can read the crops of the other.
HAAR = 0.9
_TILT = 10.0  # least angle, in degrees, by which a face is turned upright
_SAME = 0.2  # least overlap of a face in one frame and the next
_EDGE = 0.02  # how near to the edge a face counts as cut off, as a fraction of its height
_VIEW = 2.0  # what is searched once more after turning, in heights of the face


class DetectorCropper:
    """
    Crops the frames of a clip to a face found by [`FaceDetector`].

    Faces are followed from frame to frame. Of those that stay the largest is taken, at the box that agrees best with
    its others, and the same square of all frames is cropped. Where its eyes are tilted by more than 10 degrees, it is
    turned upright. Without any face, frames stay whole. OpenCV is not needed.

    Args:
        path (`str` or `os.PathLike`): Weights of the detector, in safetensors.
        margin (`float`, *optional*, defaults to 0.1): Margin on each side of the face, as a fraction of its height.
    """

    version = "1"  # raised when the same frames are cropped in another way, so that stored features are not mixed

    def __init__(self, path, margin=0.1):
        self.detector, self.margin = FaceDetector(path), margin

    @property
    def path(self) -> str:
        """Where the weights lie."""
        return self.detector.path

    def __call__(self, frames):
        """As `crop`, without what is known of the faces."""
        return self.crop(frames)[0]

    def crop(self, frames: np.ndarray) -> tuple[np.ndarray, Faces]:
        """
        Crop frames to the face, and say who is in view.

        Args:
            frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.

        Returns:
            `tuple[np.ndarray, Faces]`: the same square of each frame, or `frames` themselves if there is no face; and
                how many people there are, and whether the face is cut off by the edge.
        """
        seen = [self.detector(frame) for frame in frames]
        if not any(seen):
            return frames, Faces(0)
        shape, track = frames.shape[1:3], largest_that_stays(follow(seen))
        face, number = representative(track)
        known = Faces(people=int(np.median([len(faces) for faces in seen if faces])), cut=is_cut(face, shape))
        angle = tilt(face)
        if abs(angle) <= _TILT:
            top, left, side = square_around(haar_box(face), shape, self.margin)
            return frames[:, top : top + side, left : left + side], known
        middle, height, angle = self.upright(frames[number], face, angle)
        side = min(round(HAAR * height * (1 + 2 * self.margin)), *shape)
        return turned(frames, middle, side, angle), known

    def upright(self, frame: np.ndarray, face: Face, angle: float) -> tuple[np.ndarray, float, float]:
        """Middle, height and tilt of a face, searched once more in a part of the frame that is turned upright."""
        middle, height = (face.box[:2] + face.box[2:]) / 2, face.box[3] - face.box[1]
        side = round(_VIEW * height)
        found = self.detector(turned(frame[None], middle, side, angle)[0])
        if not found:
            return middle, height, angle
        nearest = min(found, key=lambda face: np.abs(face.box[:2] + face.box[2:] - side).sum())
        way = (nearest.box[:2] + nearest.box[2:] - side) / 2
        return middle + rotation(angle) @ way, nearest.box[3] - nearest.box[1], angle + tilt(nearest)


def follow(seen: list[list[Face]]) -> list[list[tuple[int, Face]]]:
    """Tracks of faces, each a list of frame and face: who overlaps with a face of the frame before is the same."""
    tracks = []
    for number, faces in enumerate(seen):
        going = [track for track in tracks if track[-1][0] == number - 1]
        for face in faces:
            last = max(going, key=lambda track: shared(track[-1][1].box, face.box), default=None)
            if last is not None and shared(last[-1][1].box, face.box) >= _SAME:
                last.append((number, face))
                going = [track for track in going if track is not last]
            else:
                tracks.append([(number, face)])
    return tracks


def largest_that_stays(tracks: list[list[tuple[int, Face]]]) -> list[tuple[int, Face]]:
    """Of the tracks at least half as long as the longest, the one with the largest faces."""
    longest = max(map(len, tracks))
    staying = [track for track in tracks if 2 * len(track) >= longest]
    return max(staying, key=lambda track: np.mean([np.prod(face.box[2:] - face.box[:2]) for _, face in track]))


def representative(track: list[tuple[int, Face]]) -> tuple[Face, int]:
    """The face of a track whose box agrees best with its others, and its frame."""
    boxes = np.stack([face.box for _, face in track])
    best = most_agreed(boxes)
    return next((face, number) for number, face in track if np.array_equal(face.box, best))


def is_cut(face: Face, shape: tuple[int, int]) -> bool:
    """Whether a face reaches to the edge of a frame of this height and width."""
    height, width = shape
    near = _EDGE * (face.box[3] - face.box[1])
    return bool(np.any(face.box[:2] <= near) or np.any(face.box[2:] >= np.array([width, height]) - near))


def tilt(face: Face) -> float:
    """The angle of the line through both eyes in degrees; positive where the right one in the picture is lower."""
    across, down = face.points[1] - face.points[0]
    return math.degrees(math.atan2(down, across))


def haar_box(face: Face) -> np.ndarray:
    """Left, top, width and height of what a Haar cascade would call the face."""
    side = HAAR * (face.box[3] - face.box[1])
    return np.concatenate([(face.box[:2] + face.box[2:] - side) / 2, [side, side]])


def rotation(angle: float) -> np.ndarray:
    """The matrix that turns a way across and down by an angle in degrees."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[cos, -sin], [sin, cos]])


def turned(frames: np.ndarray, middle: np.ndarray, side: int, angle: float) -> np.ndarray:
    """
    The square around `middle` that is tilted by `angle`, turned upright; beyond the edge goes on what lies at it.

    Args:
        frames (`np.ndarray` of shape `(frames, height, width, 3)`): RGB, uint8.
        middle (`np.ndarray` of shape `(2,)`): Across and down, in pixels.
        side (`int`): Of the square, in pixels.
        angle (`float`): In degrees, as [`tilt`] gives it.

    Returns:
        `np.ndarray` of shape `(frames, side, side, 3)`.
    """
    steps = np.arange(side) + 0.5 - side / 2
    ways = np.stack(np.meshgrid(steps, steps), axis=-1) @ rotation(angle).T
    places = (middle + ways) / np.array([frames.shape[2], frames.shape[1]]) * 2 - 1
    grid = torch.from_numpy(places).float().expand(len(frames), -1, -1, -1)
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    found = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.round().byte().permute(0, 2, 3, 1).numpy()
