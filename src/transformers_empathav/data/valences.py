"""Whether feelings are pleasant or not: of the seven emotions, and of the 32 situations of EmpatheticDialogues."""

from .dialogues.empathetic_dialogues import EMPATHETIC_EMOTIONS


# 1 pleasant, -1 unpleasant, 0 neither, or one cannot say which.
EMOTION_VALENCES = {"angry": -1, "disgust": -1, "fearful": -1, "happy": 1, "neutral": 0, "sad": -1, "surprised": 0}
# Where people told of situations as positive or negative ones (iEval), 19 of 20 surprised and 12 of 13 nostalgic ones
# were positive. Caring and sentimental ones were both, so they count as neither.
SITUATION_VALENCES = {
    name: EMOTION_VALENCES[emotion] for emotion, names in EMPATHETIC_EMOTIONS.items() for name in names
} | {"surprised": 1, "nostalgic": 1, "caring": 0, "sentimental": 0}


def speaker_valence(row: dict) -> int | None:
    r"""
    How people labelled what the speaker feels.

    Args:
        row (`dict`): Of [`reply_rows`]. It may have a `valence`, or a `situation`, one of the 32. Without both, the
            newest user message that has an `emotion` counts.

    Returns:
        `int`, *optional*: 1, -1, or 0 where the label says neither; `None` without a label.
    """
    if row.get("valence") is not None:
        return row["valence"]
    if row.get("situation") is not None:
        return SITUATION_VALENCES[row["situation"]]
    said = [message for message in row["prompt"] if message["role"] == "user" and message.get("emotion") is not None]
    return EMOTION_VALENCES[said[-1]["emotion"]] if said else None
