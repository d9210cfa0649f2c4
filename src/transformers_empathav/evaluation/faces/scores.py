"""Probabilities that a face tower gives by itself: to pictures of faces, and to clips."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from ...data.faces import Faces
from ...modeling.configuration_empathav import EMOTION_LABELS
from ...modeling.face_encoder_empathav import FaceEncoder
from ...processing.media_empathav import load_clip


def face_scores(model: FaceEncoder, faces: Faces, batch_size: int = 256) -> np.ndarray:
    """Probabilities `(faces, 7)` in the order of `EMOTION_LABELS`, one look at each face as it is."""
    found = [
        probabilities(model, np.repeat(faces.pixels[start : start + batch_size, :, :, None], 3, axis=3))
        for start in range(0, len(faces), batch_size)
    ]
    return np.concatenate(found)


def clip_scores(
    model: FaceEncoder,
    items: list[dict],
    crop: Callable[[np.ndarray], np.ndarray] | None = None,
    num_frames: int = 8,
) -> np.ndarray:
    r"""
    Probabilities `(clips, 7)`: the mean over frames, which are brought to the tower's size as a processor does.

    Args:
        items (`list[dict]`): Clips as `load_clip_corpus` gives them.
        crop (`Callable`, *optional*): Frames of a clip to those of its face, a `FaceCropper`.
        num_frames (`int`, *optional*, defaults to 8): Frames of a window.

    Raises:
        `MediaError`: a clip cannot be read, or has no frames.
    """
    side, rows = model.config.image_size, []
    for item in items:
        path = next(part["path"] for part in item["messages"][-1]["content"] if "path" in part)
        windows = [clip.frames for clip in load_clip(path, num_frames=num_frames)]
        frames = [frame for window in windows for frame in (window if crop is None else crop(window))]
        small = [
            np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BILINEAR)) for frame in frames
        ]
        rows.append(probabilities(model, np.stack(small)).mean(axis=0))
    return np.stack(rows)


@torch.no_grad()
def probabilities(model: FaceEncoder, pictures: np.ndarray) -> np.ndarray:
    """Of RGB pictures `(pictures, height, width, 3)`, `uint8`."""
    order = [model.config.label2id[label] for label in EMOTION_LABELS]
    pixels = torch.from_numpy(pictures).to(model.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return model(pixels, return_dict=True).logits.float().softmax(dim=-1)[:, order].cpu().numpy()
