import numpy as np
import pytest

from transformers_empathav.evaluation.texts.lexicon import WORDS, lexicon_scores
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


def test_listed_words_decide_and_nothing_listed_is_neutral():
    texts = ["I am so angry with him", "Yuck, that is disgusting", "The meeting is on Monday", "You did that?!"]
    found = [EMOTION_LABELS[index] for index in lexicon_scores(texts).argmax(axis=1)]
    assert found == ["angry", "disgust", "neutral", "surprised"]
    assert not lexicon_scores(["Hello from the window"])[0, [0, 3]].any()  # neither hell nor win
    assert np.allclose(lexicon_scores(texts).sum(axis=1), 1)
    assert lexicon_scores(["Sad, sad, happy"])[0, 5] == pytest.approx(2 / 3.5)


def test_no_word_speaks_for_two_emotions():
    words = [word for listed in WORDS.values() for word in listed]
    assert len(words) == len(set(words))
    assert set(WORDS) == set(EMOTION_LABELS) - {"neutral"}
