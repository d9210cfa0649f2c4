"""RAVDESS: acted voices and faces, by their file names."""

import os
import re
from collections.abc import Mapping

from .item import load_named_clips


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
    return load_named_clips(folder, RAVDESS_NAME, read_name, "03-01-05-02-01-01-12.wav of RAVDESS", label_map)


def read_name(name: re.Match) -> tuple[str, str, str] | None:
    """Label, speaker and words; `None` for song."""
    if name[2] != "01":
        return None
    return RAVDESS_EMOTIONS[int(name[3]) - 1], f"actor{name[7]}", RAVDESS_STATEMENTS[int(name[5]) - 1]
