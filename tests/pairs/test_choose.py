"""The choice among candidates, on scores that are set by hand."""

import numpy as np
import pytest

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.choose import REFUSALS, Limits, TextScores, judge, overlap


RIGHT, LAST = "I am glad that you made it home", "We are home now after all"


def emotions(**given) -> np.ndarray:
    return np.array([given.get(emotion, 0.0) for emotion in EMOTION_LABELS])


def scores_of(known: dict[str, tuple]) -> TextScores:
    """Emotions and a contextual similarity to the right reply for each text."""
    return TextScores(
        list(known),
        lambda texts: np.stack([known[text][0] for text in texts]),
        lambda texts: np.stack([[known[text][1], (1 - known[text][1] ** 2) ** 0.5] for text in texts]),
    )


def candidate(text, emotion="sad", finish_reason="stop"):
    return {"emotion": emotion, "text": text, "finish_reason": finish_reason}


def judged(known, candidates, limits=None):
    scores = scores_of({RIGHT: (emotions(happy=1.0), 1.0), **known})
    return judge(RIGHT, candidates, LAST, scores, limits or Limits())


def test_the_farthest_above_the_floor_is_chosen():
    known = {
        "a b c d e f g": (emotions(happy=0.5, sad=0.5), 0.9),
        "h i j k l m n": (emotions(sad=0.9, happy=0.1), 0.5),
        "o p q r s t u": (emotions(angry=1.0), 0.1),
    }
    found = judged(known, [candidate(text) for text in known])
    assert [row["reason"] for row in found] == ["nearer in emotion", "chosen", "context"]
    first, second, third = found
    assert first["emotional_distance"] == pytest.approx(1 - 0.5 / 0.5**0.5)
    assert second["emotional_distance"] == pytest.approx(1 - 0.1 / (0.82**0.5))
    assert third["emotional_distance"] == pytest.approx(1)
    assert [row["contextual_similarity"] for row in found] == pytest.approx([0.9, 0.5, 0.1])
    assert [row["obedience"] for row in found] == pytest.approx([0.5, 0.9, 0.0])
    assert [(row["words"], row["length_ratio"]) for row in found] == [(7, 7 / 8)] * 3
    lower = judged(known, [candidate(text) for text in known], Limits(contextual_floor=0.0))
    assert [row["reason"] for row in lower] == ["nearer in emotion", "nearer in emotion", "chosen"]


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("", "prompt", "prompt too long"),
        (" ... !", "stop", "empty"),
        ("I think that you should have", "length", "truncated"),
        ("I think that you should have", "content_filter", "truncated"),
        ("[angry] Why would you ever do that", "stop", "shows its instruction"),
        ("(Reply in one or two sentences, feeling glad", "stop", "shows its instruction"),
        ("As an AI language model I feel nothing", "stop", "refuses to answer"),
        ("I’m sorry, but I can’t help with that", "stop", "refuses to answer"),
        ("I cannot write a reply like that one", "stop", "refuses to answer"),
        ("I am so glad that you made it home", "stop", "copies the right reply"),
        ("we are home now, after all!", "stop", "repeats the user"),
        ("Go away", "stop", "length"),
        ("one " * 17, "stop", "length"),
        ("what a strange thing to tell me", "stop", "context"),
    ],
)
def test_each_refusal(text, finish_reason, reason):
    (found,) = judged({text: (emotions(sad=1.0), 0.1)}, [candidate(text, finish_reason=finish_reason)])
    assert found["reason"] == reason and reason in REFUSALS


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help worrying", "I can't help laughing about that", "I'm afraid I can't come along"],
)
def test_a_person_who_cannot_is_no_refusal(text):
    (found,) = judged({text: (emotions(sad=1.0), 0.9)}, [candidate(text)])
    assert found["reason"] == "chosen"


def test_nothing_is_chosen_where_nothing_is_eligible():
    assert judged({}, []) == []
    found = judged({"Go": (emotions(sad=1.0), 0.9)}, [candidate("Go"), candidate("Go", "angry")])
    assert [row["reason"] for row in found] == ["length", "length"]


def test_overlap_by_hand():
    assert overlap("One two three!", "one, two; three") == 1
    assert overlap("one two three four", "one two") == pytest.approx(2 * 2 / 6)
    assert overlap("", "") == 0


def test_a_band_without_the_length_itself_is_refused():
    with pytest.raises(ValueError, match="does not hold the length itself"):
        Limits(shortest=1.2)
