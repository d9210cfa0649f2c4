"""MELD: dialogues of a TV series, each utterance with its speaker and its emotion."""

import os
from collections import defaultdict
from pathlib import Path

from .tables import mend_quotes, read_csv


MELD_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}


def load_meld(folder: str | os.PathLike, split: str) -> list[dict]:
    """
    MELD's csv files. Names and emotions of the speakers are kept. Roles take turns: the first speaker of a dialogue is
    the user, and the role changes whenever the speaker does.

    Args:
        folder (`str` or `os.PathLike`): Holds `train_sent_emo.csv` and `dev_sent_emo.csv`.
        split (`str`): `train`, `dev` or `test`.
    """
    dialogues = defaultdict(list)
    for row in read_csv(Path(folder) / f"{split}_sent_emo.csv"):
        messages = dialogues[row["Dialogue_ID"]]
        same_speaker = messages and messages[-1]["speaker"] == row["Speaker"]
        role = (
            messages[-1]["role"]
            if same_speaker
            else "assistant"
            if messages and messages[-1]["role"] == "user"
            else "user"
        )
        messages.append(
            {
                "role": role,
                "speaker": row["Speaker"],
                "emotion": MELD_EMOTIONS[row["Emotion"]],
                "content": mend_quotes(row["Utterance"]),
            }
        )
    return [{"id": f"meld-{split}-{key}", "messages": messages} for key, messages in dialogues.items()]
