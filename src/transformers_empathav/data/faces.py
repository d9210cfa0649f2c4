"""Labelled faces in parquet files: FER2013, or your own in its columns."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..modeling.configuration_empathav import EMOTION_LABELS


COLUMNS = ("id", "emotion", "jpeg")
BATCH_ROWS = 1024


@dataclass(frozen=True)
class Faces:
    r"""
    Faces with their emotions.

    Args:
        pixels (`np.ndarray` of shape `(faces, height, width)`): Grey, `uint8`.
        labels (`np.ndarray` of shape `(faces,)`): Index into `EMOTION_LABELS`, `int64`.
        ids (`list[str]`): Names.
    """

    pixels: np.ndarray
    labels: np.ndarray
    ids: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: np.ndarray) -> "Faces":
        """The faces of these indices, or of this mask."""
        rows = np.arange(len(self))[rows]
        return Faces(self.pixels[rows], self.labels[rows], [self.ids[row] for row in rows])


def load_faces(path: str | os.PathLike, size: int = 48) -> Faces:
    r"""
    Reads a parquet file with the columns `id`, `emotion` (one of `EMOTION_LABELS`) and `jpeg` (bytes of a picture of
    any kind that Pillow reads; colour becomes grey).

    Args:
        path (`str` or `os.PathLike`): The file.
        size (`int`, *optional*, defaults to 48): Height and width that every picture must have.

    Raises:
        `ValueError`: names the file, and the row, that is not as said.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError("Faces are stored in parquet: `pip install pyarrow` to read them.") from None

    if not Path(path).is_file():
        raise ValueError(f"{path} is not there: see docs/faces.md for the files of faces and where they come from.")
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no parquet file ({error}): fetch it again.") from None
    if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
        raise ValueError(f"{path} has no column {' and no column '.join(missing)}: faces need {', '.join(COLUMNS)}.")

    count = file.metadata.num_rows
    if not count:
        raise ValueError(f"{path} holds no face: its table is empty.")
    pixels, labels, ids = np.empty((count, size, size), dtype=np.uint8), np.empty(count, dtype=np.int64), []
    for batch in file.iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
        for name, emotion, jpeg in zip(*(batch.column(column).to_pylist() for column in COLUMNS)):
            row = len(ids)
            if emotion not in EMOTION_LABELS:
                raise ValueError(
                    f"{path}, row {row} ({name}) has the emotion {emotion!r}: it must be one of "
                    f"{', '.join(EMOTION_LABELS)}."
                )
            pixels[row] = decode(jpeg, size, f"{path}, row {row} ({name})")
            labels[row] = EMOTION_LABELS.index(emotion)
            ids.append(str(name))
    return Faces(pixels, labels, ids)


def decode(jpeg: bytes | None, size: int, where: str) -> np.ndarray:
    """A picture's grey pixels."""
    try:
        with Image.open(io.BytesIO(jpeg or b"")) as image:
            grey = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{where} is no picture that can be read ({error}): fetch the file again.") from None
    if grey.shape != (size, size):
        raise ValueError(
            f"{where} has {grey.shape[1]}x{grey.shape[0]} pixels, but {size}x{size} are expected: resize it before."
        )
    return grey


def split_faces(faces: Faces, share: float, seed: int) -> tuple[Faces, Faces]:
    """
    Two random parts, the second with some `share` of the pictures; all copies of a picture are in one part.

    Raises:
        `ValueError`: a part would be empty.
    """
    _, picture = np.unique(faces.pixels.reshape(len(faces), -1), axis=0, return_inverse=True)
    pictures = picture.max() + 1
    held_out = np.random.default_rng(seed).permutation(pictures)[: round(share * pictures)]
    if not 0 < len(held_out) < pictures:
        raise ValueError(f"A share of {share} of {pictures} pictures leaves one part empty: take one between 0 and 1.")
    second = np.isin(picture.reshape(-1), held_out)
    return faces[~second], faces[second]


def without(faces: Faces, others: Faces) -> Faces:
    """The faces whose picture is not among `others`."""
    known = {face.tobytes() for face in others.pixels}
    return faces[np.array([face.tobytes() not in known for face in faces.pixels], dtype=bool)]
