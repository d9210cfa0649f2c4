"""Emotional fit: whether a reply takes part in what the speaker lived through, or feels the other way."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from ..data.valences import EMOTION_VALENCES
from .bootstrap import Scores


def first_sentence(text: str) -> str:
    """A text up to the first full stop, question or exclamation mark before a space; all of it without one."""
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]


def reactions(texts: Sequence[str], distributions: Callable, emotion_labels: Sequence[str]) -> np.ndarray:
    """The valence of the likeliest emotion of each text: 1, -1, or 0 for neutral and surprised."""
    valences = np.array([EMOTION_VALENCES[label] for label in emotion_labels])
    return valences[np.asarray(distributions(list(texts))).argmax(axis=1)]


def emotional_fit(
    replies: Sequence[str],
    valences: Sequence[int | None],
    distributions: Callable[[list[str]], np.ndarray],
    emotion_labels: Sequence[str],
) -> dict[str, Scores]:
    r"""
    The share of replies whose emotion has the valence of the speaker's situation, minus the share with the other one.
    A neutral or surprised reply is neither. Nothing is compared with the reply that a person gave.

    Args:
        replies (`list[str]`): What a system said.
        valences (`list[int]`): Of the situation of each reply, by people ([`speaker_valence`]): 1 or -1. Replies with
            0 or `None` do not count.
        distributions (`Callable`): Texts to probabilities `(texts, emotions)`.
        emotion_labels (`Sequence[str]`): In the order of the distributions.

    Returns:
        `dict[str, Scores]`: `emotional_fit` of whole replies; `emotional_fit_first` of their first sentences; and
        `emotional_fit_constant`, the control: whole replies held against the commoner valence, whatever the
        situation. A fit that is not above it tells nothing of reading the speaker. Empty where nothing counts.
    """
    wanted = np.array([valence or 0 for valence in valences])
    if not wanted.any():
        return {}
    counted, usual = wanted != 0, 1 if wanted.sum() >= 0 else -1
    whole, first = (
        reactions(texts, distributions, emotion_labels)
        for texts in (replies, [first_sentence(text) for text in replies])
    )
    return {
        "emotional_fit": Scores.of_values(whole * wanted, counted),
        "emotional_fit_first": Scores.of_values(first * wanted, counted),
        "emotional_fit_constant": Scores.of_values(whole * usual, counted),
    }
