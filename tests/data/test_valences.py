"""Valences: every label has one, and the speaker's label is found."""

import pytest

from helpers import assistant, user
from transformers_empathav.data.valences import EMOTION_VALENCES, SITUATION_VALENCES, speaker_valence
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


def test_every_label_has_a_valence():
    assert set(EMOTION_VALENCES) == set(EMOTION_LABELS) and len(SITUATION_VALENCES) == 32
    assert (SITUATION_VALENCES["proud"], SITUATION_VALENCES["lonely"], SITUATION_VALENCES["caring"]) == (1, -1, 0)


@pytest.mark.parametrize(
    ("row", "valence"),
    [
        ({"valence": -1, "situation": "proud"}, -1),
        ({"situation": "nostalgic", "prompt": [user("a", emotion="sad")]}, 1),
        ({"situation": None, "prompt": [user("a", emotion="happy"), assistant("b"), user("c")]}, 1),
        ({"prompt": [user("a", emotion="happy"), assistant("b"), user("c", emotion="angry")]}, -1),
        ({"prompt": [user("a", emotion="surprised")]}, 0),
        ({"prompt": [user("a"), {**assistant("b"), "emotion": "happy"}, user("c")]}, None),
    ],
)
def test_the_label_of_the_speaker(row, valence):
    assert speaker_valence(row) == valence
