"""Emotional fit by hand: which replies count, first sentences, and the control."""

import numpy as np
import pytest

from transformers_empathav.measures.emotional_fit import emotional_fit, first_sentence


LABELS = ["happy", "sad", "neutral", "surprised", "angry"]


def says(emotions: dict[str, str]):
    """A scorer that is sure of the emotion of each text."""
    return lambda texts: np.array([np.eye(len(LABELS))[LABELS.index(emotions[text])] for text in texts])


def test_right_minus_wrong_over_the_replies_whose_situation_has_a_valence():
    emotions = {"yay": "happy", "oh no": "sad", "ok": "neutral", "wow": "surprised", "grr": "angry"}
    replies = ["yay", "oh no", "ok", "wow", "grr", "yay", "yay"]
    valences = [1, 1, 1, -1, -1, 0, None]
    found = emotional_fit(replies, valences, says(emotions), LABELS)
    # right, wrong, neither, neither, right; the last two do not count
    assert found["emotional_fit"].figure() == pytest.approx((2 - 1) / 5)
    assert found["emotional_fit"].count() == 5
    # held against the commoner valence, which is pleasant: right, wrong, neither, neither, wrong
    assert found["emotional_fit_constant"].figure() == pytest.approx((1 - 2) / 5)


def test_the_control_sees_through_a_system_that_is_always_cheerful():
    found = emotional_fit(["yay"] * 3, [1, 1, -1], says({"yay": "happy"}), LABELS)
    assert found["emotional_fit"].figure() == pytest.approx(1 / 3)
    assert found["emotional_fit_constant"].figure() == 1


def test_first_sentences_are_judged_by_themselves():
    emotions = {"Oh no! But well done.": "happy", "Oh no!": "sad"}
    found = emotional_fit(["Oh no! But well done."], [-1], says(emotions), LABELS)
    assert (found["emotional_fit"].figure(), found["emotional_fit_first"].figure()) == (-1, 1)


def test_without_a_label_there_is_no_fit():
    assert emotional_fit(["yay"], [None], says({"yay": "happy"}), LABELS) == {}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Oh no! What happened?", "Oh no!"),
        ("that ' s great ! when ?", "that ' s great !"),
        ("It cost 3.50 there. Good", "It cost 3.50 there."),
        (" no end ", "no end"),
        ("", ""),
    ],
)
def test_first_sentence(text, first):
    assert first_sentence(text) == first
