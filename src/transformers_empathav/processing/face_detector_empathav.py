"""Finds faces in a picture: RetinaFace (Deng et al. 2020) with MobileNet 0.25, its priors, boxes and landmarks."""

import os
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .media_limits_empathav import MissingMediaError


WIDTH = 64  # channels of every level of the pyramid
# Of each level: pixels between its cells, and the sides of the two squares in the middle of a cell.
LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
MEAN = (123.0, 117.0, 104.0)  # red, green, blue
POINTS = 5  # left and right eye as the picture shows them, tip of the nose, left and right corner of the mouth
ANSWERS = 1 + 4 + 2 * POINTS  # of each square: a score, its way to the box, and to the landmarks
_SIDE = 320  # longer side, in pixels, to which pictures are scaled for the search
_SURE, _OVERLAP = 0.6, 0.4  # least probability of a face, and most overlap of two


class Face(NamedTuple):
    """
    One face of a picture, in its pixels.

    Args:
        box (`np.ndarray` of shape `(4,)`): left, top, right and bottom; beyond the picture for a face that is cut off.
        points (`np.ndarray` of shape `(5, 2)`):
            Left and right eye as the picture shows them, tip of the nose, left and right corner of the mouth.
        score (`float`): Probability that it is a face.
    """

    box: np.ndarray
    points: np.ndarray
    score: float


def convolution(inside: int, outside: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by `stride`."""
    return nn.Conv2d(inside, outside, size, stride, size // 2, groups=groups)


def leaky(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.LeakyReLU(0.1))


def separable(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """A convolution of each channel by itself, and one that mixes channels."""
    return nn.Sequential(leaky(convolution(inside, inside, 3, stride, inside)), leaky(convolution(inside, outside, 1)))


class Context(nn.Module):
    """Looks at 3, 5 and 7 cells around each cell of a level."""

    def __init__(self):
        super().__init__()
        half, quarter = WIDTH // 2, WIDTH // 4
        self.near = convolution(WIDTH, half)
        self.step, self.middle = leaky(convolution(WIDTH, quarter)), convolution(quarter, quarter)
        self.farther, self.far = leaky(convolution(quarter, quarter)), convolution(quarter, quarter)

    def forward(self, level):
        step = self.step(level)
        return torch.cat([self.near(level), self.middle(step), self.far(self.farther(step))], dim=1).relu()


class RetinaFace(nn.Module):
    """
    The network. Batch norms are folded into the convolutions before them.

    `forward` takes RGB pictures `(batch, 3, height, width)` of values 0 to 255 and gives `(batch, squares, 15)`
    numbers for the squares of [`priors`]: the logit of a face, four of its box, ten of its landmarks.
    """

    def __init__(self):
        super().__init__()
        first = [leaky(convolution(3, 8, stride=2)), separable(8, 16), separable(16, 32, 2), separable(32, 32)]
        self.stages = nn.ModuleList([
            nn.Sequential(*first, separable(32, 64, 2), separable(64, 64)),
            nn.Sequential(separable(64, 128, 2), *(separable(128, 128) for _ in range(5))),
            nn.Sequential(separable(128, 256, 2), separable(256, 256)),
        ])  # fmt: skip
        self.lateral = nn.ModuleList(leaky(convolution(channels, WIDTH, 1)) for channels in (64, 128, 256))
        self.merge = nn.ModuleList(leaky(convolution(WIDTH, WIDTH)) for _ in LEVELS[1:])
        self.context = nn.ModuleList(Context() for _ in LEVELS)
        self.heads = nn.ModuleList(convolution(WIDTH, len(sides) * ANSWERS, 1) for _, sides in LEVELS)

    def forward(self, pictures):
        state, levels = pictures - pictures.new_tensor(MEAN).view(3, 1, 1), []
        for stage, lateral in zip(self.stages, self.lateral):
            state = stage(state)
            levels.append(lateral(state))
        for index in (1, 0):  # what a coarse level sees is added to the finer one
            coarse = F.interpolate(levels[index + 1], size=levels[index].shape[-2:], mode="nearest")
            levels[index] = self.merge[index](levels[index] + coarse)
        answers = [head(context(level)) for head, context, level in zip(self.heads, self.context, levels)]
        return torch.cat([answer.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, ANSWERS)) for answer in answers], 1)


class FaceDetector:
    """
    Finds the faces of a picture, upright or turned by up to 45 degrees and more. It may be shared by threads.

    Args:
        path (`str` or `os.PathLike`): Weights of [`RetinaFace`] in safetensors; read on the first call.

    Raises:
        `MissingMediaError`: On the first call, if there is no such file.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self._network = None

    @torch.no_grad()
    def __call__(self, picture: np.ndarray) -> list[Face]:
        """
        Find faces, the surest first.

        Args:
            picture (`np.ndarray` of shape `(height, width, 3)`): RGB, uint8.
        """
        height, width = picture.shape[:2]
        scale = _SIDE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
        answers = self._loaded()(torch.from_numpy(scaled).permute(2, 0, 1)[None].float())[0]
        boxes, points, scores = read_answers(answers, priors(size[1], size[0]))
        back = np.array([width, height]) / size
        boxes, points = boxes * np.tile(back, 2), points * back
        return [Face(boxes[index], points[index], float(scores[index])) for index in distinct(boxes, scores)]

    def _loaded(self) -> RetinaFace:
        if self._network is None:
            if not os.path.isfile(self.path):
                raise MissingMediaError(f"{self.path}: no such face detector; assemble the checkpoint again.")
            network = RetinaFace().eval()
            network.load_state_dict(load_file(self.path))
            self._network = network
        return self._network

    def __getstate__(self):
        return {**self.__dict__, "_network": None}


def priors(height: int, width: int) -> np.ndarray:
    """The squares that a picture is asked about: centre across, centre down and side, of shape `(squares, 3)`."""
    squares = []
    for step, sides in LEVELS:
        down, across = np.mgrid[: -(-height // step), : -(-width // step)]
        centres = (np.stack([across, down], axis=-1) + 0.5) * step
        centres = np.repeat(centres.reshape(-1, 1, 2), len(sides), axis=1)
        lengths = np.broadcast_to(np.array(sides).reshape(1, -1, 1), (*centres.shape[:2], 1))
        squares.append(np.concatenate([centres, lengths], axis=-1).reshape(-1, 3))
    return np.concatenate(squares)


def read_answers(answers: torch.Tensor, squares: np.ndarray, sure: float = _SURE):
    """
    Boxes, landmarks and probabilities of the squares that probably hold a face.

    Args:
        answers (`torch.Tensor` of shape `(squares, 15)`): What [`RetinaFace`] says of a picture.
        squares (`np.ndarray` of shape `(squares, 3)`): Its [`priors`].
        sure (`float`): Least probability.

    Returns:
        `tuple`: boxes `(faces, 4)`, landmarks `(faces, 5, 2)` and probabilities `(faces,)`.
    """
    scores = answers[:, 0].sigmoid()
    chosen = (scores >= sure).numpy()
    answers, squares = answers[chosen].double().numpy(), squares[chosen]
    centres, sides = squares[:, :2], squares[:, 2:]
    middle, size = centres + 0.1 * answers[:, 1:3] * sides, sides * np.exp(0.2 * answers[:, 3:5])
    points = centres[:, None] + 0.1 * answers[:, 5:].reshape(-1, POINTS, 2) * sides[:, None]
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1), points, scores.numpy()[chosen]


def distinct(boxes: np.ndarray, scores: np.ndarray, overlap: float = _OVERLAP) -> list[int]:
    """Places of the boxes that overlap with no surer one that stays, the surest first."""
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if all(shared(boxes[index], boxes[other]) <= overlap for other in kept):
            kept.append(int(index))
    return kept


def shared(one: np.ndarray, other: np.ndarray) -> float:
    """What two boxes have in common, as a share of what they cover together."""
    common = np.prod(np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None))
    return float(common / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common))
