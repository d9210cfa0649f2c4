"""EmpatheticDialogues: a speaker tells of a situation, a listener answers."""

import os
import zlib
from collections import defaultdict
from pathlib import Path

from .tables import mend_quotes, read_csv


ROLES = {"speaker": "user", "listener": "assistant"}
# The 32 labels of EmpatheticDialogues, in the sense that their situations have, brought to the seven.
EMPATHETIC_EMOTIONS = {
    "angry": ("angry", "annoyed", "furious", "jealous"),
    "disgust": ("disgusted",),
    "fearful": ("afraid", "anxious", "apprehensive", "terrified"),
    "happy": (
        "caring", "confident", "content", "excited", "faithful", "grateful", "hopeful", "joyful", "proud", "trusting",
        "anticipating", "impressed", "prepared",
    ),
    "sad": (
        "ashamed", "devastated", "disappointed", "embarrassed", "guilty", "lonely", "nostalgic", "sad", "sentimental",
    ),
    "surprised": ("surprised",),
}  # fmt: skip


def load_empathetic_dialogues(folder: str | os.PathLike, split: str, dev_share: float = 0.05) -> list[dict]:
    r"""
    EmpatheticDialogues: a csv file for each of its emotions. That emotion is the conversation's `situation` and,
    brought to the seven, the first user turn's `emotion`.

    Args:
        folder (`str` or `os.PathLike`): Holds the csv files.
        split (`str`): `train` or `dev`. Which one a dialogue is in depends on its id alone.
        dev_share (`float`, *optional*, defaults to 0.05): Share of the dialogues that are `dev`.

    Raises:
        `ValueError`: there is no such split.
    """
    if split not in ("train", "dev"):
        raise ValueError(f"EmpatheticDialogues has no split {split!r}: take train or dev.")
    to_seven = {name: label for label, names in EMPATHETIC_EMOTIONS.items() for name in names}
    conversations = []
    for path in sorted(Path(folder).glob("*.csv")):
        dialogues = defaultdict(list)
        for row in read_csv(path):
            if row["Type"] == "utterance":
                message = {"role": ROLES[row["Actor"]], "content": mend_quotes(row["Text"])}
                dialogues[row["Dialog_ID"]].append(message)
        for key, messages in dialogues.items():
            held_out = zlib.crc32(key.encode()) % 1000 < 1000 * dev_share
            if held_out == (split == "dev"):
                messages[0]["emotion"] = to_seven[path.stem]
                conversations.append({"id": f"empathetic-{key}", "situation": path.stem, "messages": messages})
    return conversations
