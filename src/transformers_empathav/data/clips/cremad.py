"""CREMA-D: acted voices and faces, by their file names."""

import os
import re
from collections.abc import Mapping

from .item import load_named_clips


# Fields of a CREMA-D name: actor, sentence, emotion, level. One published name, 1040_ITH_SAD_X, has a short level.
CREMAD_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})$")
CREMAD_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
CREMAD_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def load_cremad(folder: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """CREMA-D by its file names (`1001_DFA_ANG_XX.flv`), in `folder` and below."""
    return load_named_clips(folder, CREMAD_NAME, read_name, "1001_DFA_ANG_XX.flv of CREMA-D", label_map)


def read_name(name: re.Match) -> tuple[str, str, str | None]:
    """Label, speaker and words."""
    return CREMAD_EMOTIONS.get(name[3], name[3]), f"actor{name[1]}", CREMAD_SENTENCES.get(name[2])
