"""MELD's clips: the csv files with the mp4 files beside them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..dialogues.meld import MELD_EMOTIONS
from ..dialogues.tables import mend_quotes, read_csv
from .item import checked_emotion, clip_item, some_clips


MELD_CLIP = re.compile(r"dia(\d+)_utt(\d+)$")


def load_meld_clips(table: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    Raw MELD: a csv file and its `dia*_utt*.mp4`, in the folder of the csv or in one below that names the same split.

    Names of clips repeat over MELD's splits, so for `dev_sent_emo.csv` only folders such as `dev_splits_complete` are
    searched. The speaker is the name in the series. A row whose clip is missing stays: `FeatureCache.prepare` counts
    it among the clips that cannot be read.

    Raises:
        `ValueError`: no clip at all is found.
    """
    table = Path(table)
    split = table.stem.split("_")[0]
    folders = [table.parent, *sorted(path for path in table.parent.glob(f"*{split}*") if path.is_dir())]
    clips = {path.stem: path for folder in folders for path in sorted(folder.glob("dia*_utt*.mp4"))}
    some_clips(list(clips), table.parent, f"named dia*_utt*.mp4 beside {table.name} or in a folder *{split}*")
    items = []
    for row in read_csv(table):
        name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        emotion = checked_emotion(MELD_EMOTIONS.get(row["Emotion"], row["Emotion"]), f"{table}, {name}", label_map)
        if emotion is not None:
            path = clips.get(name, table.parent / f"{name}.mp4")
            items.append(clip_item(path, emotion, row["Speaker"], mend_quotes(row["Utterance"])))
            items[-1]["id"] = f"meld-{split}-{name}"
    return items
