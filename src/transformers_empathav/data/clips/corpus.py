"""One loader for every corpus of labelled clips."""

import os
from collections.abc import Mapping
from pathlib import Path

from .cremad import CREMAD_NAME, load_cremad
from .faces import load_face_clips
from .item import media_below
from .jsonl import load_clip_lines
from .meld import MELD_CLIP, load_meld_clips
from .nemo import NEMO_TABLE, load_nemo
from .ravdess import RAVDESS_NAME, load_ravdess
from .table import load_labels


# Corpora whose file names say everything: the pattern of a name, and the loader. Another one is a file beside this one
# and a line here.
NAMED = ((RAVDESS_NAME, load_ravdess), (CREMAD_NAME, load_cremad))


def load_clip_corpus(source: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    r"""
    Labelled clips from where `source` points: JSON lines, a parquet file of faces, a MELD csv file
    (`*_sent_emo.csv`), another csv file with `path` and `emotion`, a folder with `labels.csv` or nEMO's `data.tsv`, or
    a folder of files named as in RAVDESS or CREMA-D.

    Each is a conversation whose last message, a user's, has a clip and one of the seven emotions; see [`clip_item`].

    Args:
        source (`str` or `os.PathLike`):
            A path, as it stands or below the folder that the environment variable `EMPATHAV_DATA` names.
        label_map (`dict`, *optional*):
            One of the seven emotions for a label of the corpus, or `None` to leave such clips out.

    Raises:
        `ValueError`: nothing is there, or a label is missing or unknown.
    """
    path = Path(source)
    if not path.exists() and os.environ.get("EMPATHAV_DATA"):
        path = Path(os.environ["EMPATHAV_DATA"]) / source
    if path.is_dir():
        if (path / "labels.csv").is_file():
            return load_labels(path / "labels.csv", label_map)
        if (path / NEMO_TABLE).is_file():
            return load_nemo(path, label_map)
        stems = [file.stem for file in media_below(path)]
        for pattern, load in NAMED:
            if any(pattern.fullmatch(stem) for stem in stems):
                return load(path, label_map)
        if any(MELD_CLIP.fullmatch(stem) for stem in stems):
            raise ValueError(
                f"{path} holds clips of MELD without their labels: name its csv file, train_sent_emo.csv."
            )
    elif path.suffix == ".jsonl" and path.is_file():
        return load_clip_lines(path, label_map)
    elif path.suffix == ".parquet" and path.is_file():
        return load_face_clips(path, label_map)
    elif path.suffix == ".csv" and path.is_file():
        return load_meld_clips(path, label_map) if path.stem.endswith("_sent_emo") else load_labels(path, label_map)
    raise ValueError(
        f"There are no labelled clips at {source!r}, as it stands or in the folder that EMPATHAV_DATA names: give "
        "JSON lines, a parquet file of faces, a csv file with path and emotion, a folder with labels.csv, or one of "
        "RAVDESS, CREMA-D or nEMO."
    )
