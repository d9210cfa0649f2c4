"""MELD's clips: the csv files with the mp4 files beside them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..dialogues.meld import MELD_EMOTIONS
from ..dialogues.tables import mend_quotes, read_csv
from .item import clip_item, found, seven


MELD_CLIP = re.compile(r"dia(\d+)_utt(\d+)$")


def load_meld_clips(table: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    Raw MELD: a csv file and its `dia*_utt*.mp4`, in the folder of the csv or in one below that names the same split.

    Names repeat over MELD's splits, so a folder `dev_splits_complete` is searched for `dev_sent_emo.csv` alone.
    A speaker is a name of the series. A row whose clip is missing counts, as any clip that cannot be read, when the
    features are prepared.

    Raises:
        `ValueError`: no clip at all is found.
    """
    table = Path(table)
    split = table.stem.split("_")[0]
    folders = [table.parent, *sorted(path for path in table.parent.glob(f"*{split}*") if path.is_dir())]
    clips = {path.stem: path for folder in folders for path in sorted(folder.glob("dia*_utt*.mp4"))}
    found(list(clips), table.parent, f"named dia*_utt*.mp4 beside {table.name} or in a folder *{split}*")
    items = []
    for row in read_csv(table):
        name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        emotion = seven(MELD_EMOTIONS.get(row["Emotion"], row["Emotion"]), f"{table}, {name}", label_map)
        if emotion is not None:
            path = clips.get(name, table.parent / f"{name}.mp4")
            items.append(clip_item(path, emotion, row["Speaker"], mend_quotes(row["Utterance"])))
            items[-1]["id"] = f"meld-{split}-{name}"
    return items
