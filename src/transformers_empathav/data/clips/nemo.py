"""nEMO: acted voices that speak Polish, by the table beside them."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from .item import checked_emotion, clip_item, media_below, some_clips


NEMO_TABLE = "data.tsv"


def load_nemo(folder: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    nEMO by its `data.tsv`: a folder with that table and, in it or below, the clips that it names. A clip may have
    another ending than in the table, as after conversion. It has six of the seven emotions; disgust is not among them.

    A row whose clip is missing stays: `FeatureCache.prepare` counts it among the clips that cannot be read.

    Raises:
        `ValueError`: a column or all clips are missing, or a label is unknown.
    """
    folder, items = Path(folder), []
    table, clips = folder / NEMO_TABLE, {path.stem: path for path in media_below(folder)}
    with open(table, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        if missing := {"file_id", "emotion", "raw_text", "speaker_id"} - set(rows.fieldnames or ()):
            raise ValueError(f"{table} has no column {' and no column '.join(sorted(missing))}: is it nEMO's?")
        for row in rows:
            emotion = checked_emotion(row["emotion"], f"{table}, {row['file_id']}", label_map)
            if emotion is not None:
                path = clips.get(Path(row["file_id"]).stem, folder / row["file_id"])
                items.append(clip_item(path, emotion, row["speaker_id"], row["raw_text"]))
    if not clips:
        raise ValueError(f"{folder}: there are no clips beside {NEMO_TABLE}.")
    return some_clips(items, table, "listed there")
