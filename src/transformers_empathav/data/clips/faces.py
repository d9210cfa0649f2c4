"""Labelled faces of a parquet file, such as FER2013's, as clips that show one picture and have no sound."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...modeling.configuration_empathav import EMOTION_LABELS
from ..faces import load_faces
from .item import some_clips


def load_face_clips(path: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    The faces that [`~data.faces.load_faces`] reads. Nobody knows who they are, so all of a file count as one speaker:
    no split has some of them on either side.

    Raises:
        `ValueError`: a face cannot be read, or `label_map` leaves none.
    """
    faces, speaker = load_faces(path), Path(path).stem
    items = []
    for pixels, label, name in zip(faces.pixels, faces.labels.tolist(), faces.ids):
        emotion = (label_map or {}).get(EMOTION_LABELS[label], EMOTION_LABELS[label])
        if emotion is not None:
            picture = {"type": "video", "video": np.repeat(pixels[None, :, :, None], 3, axis=3)}
            message = {"role": "user", "speaker": speaker, "emotion": emotion, "content": [picture]}
            items.append({"id": f"{speaker}/{name}", "messages": [message]})
    return some_clips(items, path, "left")
