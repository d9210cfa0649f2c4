"""Single messages with an emotion, to train a text classifier."""

from ...modeling.configuration_empathav import EMOTION_LABELS
from ..replies import text_of


def labelled_texts(conversations: list[dict], most: int | None = None) -> list[dict]:
    r"""
    The messages that have an emotion and words.

    In MELD that is every utterance. In EmpatheticDialogues it is the first turn of the speaker alone: people labelled
    the situation that it tells of, and nobody labelled what follows. None of these is neutral.

    Args:
        conversations (`list[dict]`): Of [`load_corpus`].
        most (`int`, *optional*): Of each emotion at most so many, the first ones; all by default.

    Returns:
        `list[dict]`: Rows with `text`, `label` (index into `EMOTION_LABELS`) and `dialogue`.
    """
    rows, counts = [], [0] * len(EMOTION_LABELS)
    for conversation in conversations:
        for message in conversation["messages"]:
            text = text_of(message).strip()
            if message.get("emotion") is None or not text:
                continue
            label = EMOTION_LABELS.index(message["emotion"])
            counts[label] += 1
            if most is None or counts[label] <= most:
                rows.append({"text": text, "label": label, "dialogue": conversation["id"]})
    return rows
