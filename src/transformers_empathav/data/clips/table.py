"""Labelled clips of your own, listed in a csv file."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from .item import checked_emotion, clip_item, some_clips


def load_labels(table: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    A csv file of your own with the columns `path` (from the folder of the csv file) and `emotion`, and, where known,
    `speaker` (or `actor`) and `text`.

    Raises:
        `ValueError`: names the line without a path or a known emotion.
    """
    table, items = Path(table), []
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"path", "emotion"} - set(rows.fieldnames or ()):
            raise ValueError(
                f"{table} has no column {' and no column '.join(sorted(missing))}: its first line names them."
            )
        for row in rows:
            where = f"{table}, line {rows.line_num}"
            if not row["path"]:
                raise ValueError(f"{where} has no path: every line names a clip.")
            emotion = checked_emotion(row["emotion"], where, label_map)
            if emotion is not None:
                speaker = row.get("speaker") or row.get("actor") or None
                items.append(clip_item(table.parent / row["path"], emotion, speaker, row.get("text")))
                items[-1]["id"] = row["path"]
    return some_clips(items, table, "listed there")
