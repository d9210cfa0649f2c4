"""RAVDESS: acted voices and faces, by their file names."""

import os
import re
from collections.abc import Mapping

from .item import clip_item, found, media_below, seven, tell_left_out


# Fields of a RAVDESS name: modality, channel, emotion, intensity, statement, repetition, actor.
RAVDESS_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)$")
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RAVDESS_STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")


def load_ravdess(folder: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    RAVDESS by its file names (`03-01-05-02-01-01-12.wav`), in `folder` and below; speech alone, song is left out.

    Its eighth emotion, calm, is not among the seven: `label_map={"calm": "neutral"}` merges it, `{"calm": None}`
    leaves it out.
    """
    items, others = [], []
    for path in media_below(folder):
        name = RAVDESS_NAME.fullmatch(path.stem)
        if name is None or name[2] != "01":
            others.append(path)
            continue
        emotion = seven(RAVDESS_EMOTIONS[int(name[3]) - 1], str(path), label_map)
        if emotion is not None:
            items.append(clip_item(path, emotion, f"actor{name[7]}", RAVDESS_STATEMENTS[int(name[5]) - 1]))
    tell_left_out(others, folder, "are song or not named as in RAVDESS")
    return found(items, folder, "named as in RAVDESS, such as 03-01-05-02-01-01-12.wav")
