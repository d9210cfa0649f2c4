"""The names that people and corpora have for the seven emotions."""

from ..modeling.configuration_empathav import EMOTION_LABELS


# Usual names for the seven, in lower case. A name that may mean two of them, such as calm, is not among these.
ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fear": "fearful",
    "afraid": "fearful",
    "scared": "fearful",
    "joy": "happy",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}


def one_of_seven(label: str) -> str:
    """The emotion that a label names, in whatever case, or the label as it is where it names none of the seven."""
    name = label.strip().lower()
    name = ALIASES.get(name, name)
    return name if name in EMOTION_LABELS else label
