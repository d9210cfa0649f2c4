"""
Which of several candidates becomes the rejected reply: the one emotionally farthest from the right reply, among those
that are about the same, about as long, and whole.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from ..emotion.sentence_embedder import SentenceEmbedder
from ..emotion.similarity import cosine, emotional_distance
from ..emotion.text_classifier import EmotionScorer
from ..modeling.configuration_empathav import EMOTION_LABELS


CHOSEN, NEARER = "chosen", "nearer in emotion"
# In the order in which a candidate is tried; the first that holds is the reason of its refusal.
REFUSALS = (
    "prompt too long",
    "empty",
    "truncated",
    "shows its instruction",
    "refuses to answer",
    "copies the right reply",
    "repeats the user",
    "length",
    "context",
)
INSTRUCTION_SHOWN = re.compile(rf"\[(?:{'|'.join(EMOTION_LABELS)})\]|\(?reply in one or two sentences", re.IGNORECASE)
REFUSING = re.compile(
    r"\bas an? (?:ai|artificial|(?:large )?language)\b"
    r"|\bi(?:'m| am) (?:just )?an? (?:ai|artificial|(?:large )?language)\b"
    r"|\bi(?:'m| am) (?:sorry|afraid),? (?:but )?(?:i )?(?:can(?:no|')t|am (?:not able|unable)|won't)"
    r" (?:assist|help (?:you )?with|write|generate|provide|comply|do that|fulfil\w*|create|produce|continue|engage)\b"
    r"|\bi can(?:no|')t (?:assist with|write|generate|provide|comply|fulfil\w*|create|produce|engage)\b"
    r"|\bi(?:'m| am) (?:not able|unable) to (?:assist|write|generate|provide|comply|fulfil\w*|create|produce)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Limits:
    r"""
    What a candidate must keep to.

    Args:
        contextual_floor (`float`): Least contextual similarity to the right reply.
        shortest, longest (`float`): Words of a candidate over words of the right reply. Length leaks: a model can win
            by length alone where one side is longer.
        most_overlap (`float`): From this word overlap on (Ratcliff-Obershelp, 0 to 1) it counts as a copy.
        nearest_of (`int`): Of so many human replies of an emotion the nearest in context is a candidate; 1 draws any.
        opposite (`bool`): Replies are exchanged between contexts of opposite emotions alone.
    """

    contextual_floor: float = 0.2
    shortest: float = 0.5
    longest: float = 2.0
    most_overlap: float = 0.8
    nearest_of: int = 200
    opposite: bool = True

    def __post_init__(self):
        if not 0 < self.shortest <= 1 <= self.longest:
            raise ValueError(
                f"A band of {self.shortest:g} to {self.longest:g} times the length does not hold the length itself: "
                "shortest must be above 0 and at most 1, longest at least 1."
            )


class TextScores:
    r"""
    Emotion distributions and sentence embeddings of many texts, each computed once.

    Args:
        texts (`Sequence[str]`): All that will be asked about; repetitions cost nothing.
        scorer ([`EmotionScorer`]), embedder ([`SentenceEmbedder`]): What judges them.
    """

    def __init__(self, texts: Sequence[str], scorer: EmotionScorer, embedder: SentenceEmbedder):
        unique = sorted(set(texts))
        self.index = {text: index for index, text in enumerate(unique)}
        self.emotions = scorer(unique).astype(np.float32)
        self.embeddings = embedder(unique).astype(np.float32)

    def emotion(self, text: str) -> str:
        """The likeliest emotion of a text."""
        return EMOTION_LABELS[int(self.emotions[self.index[text]].argmax())]

    def probability(self, text: str, emotion: str) -> float:
        """Of one emotion in a text."""
        return float(self.emotions[self.index[text], EMOTION_LABELS.index(emotion)])

    def distance(self, first: str, second: str) -> float:
        """Emotional distance of two texts, 0 to 1."""
        return float(emotional_distance(*(self.emotions[self.index[text]] for text in (first, second))))

    def similarity(self, first: str, second: str) -> float:
        """Contextual similarity of two texts, -1 to 1."""
        return float(cosine(*(self.embeddings[self.index[text]] for text in (first, second))))


def judge(
    right: str,
    candidates: Sequence[dict],
    last: str,
    scores: TextScores,
    limits: Limits = Limits(),  # noqa: B008 (it is frozen)
) -> list[dict]:
    r"""
    Scores candidates and chooses one at most.

    Args:
        right (`str`): The right reply.
        candidates (`Sequence[dict]`): With `emotion`, `text` and `finish_reason`.
        last (`str`): What the user said last.
        scores ([`TextScores`]): Knows all these texts.
        limits ([`Limits`]): What a candidate must keep to.

    Returns:
        `list[dict]`: All candidates in their order, with `emotional_distance` and `contextual_similarity` to the right
        reply, `words`, `length_ratio`, `obedience` (the scorer's probability of the emotion that was asked for) and
        `reason`: `chosen`, `nearer in emotion`, or one of `REFUSALS`.
    """
    judged = []
    for candidate in candidates:
        text = candidate["text"]
        found = {
            **candidate,
            "emotional_distance": scores.distance(right, text),
            "contextual_similarity": scores.similarity(right, text),
            "words": len(text.split()),
            "length_ratio": len(text.split()) / max(len(right.split()), 1),
            "obedience": scores.probability(text, candidate["emotion"]),
        }
        judged.append({**found, "reason": refusal(found, right, last, limits) or NEARER})
    eligible = [found for found in judged if found["reason"] == NEARER]
    if eligible:
        max(eligible, key=lambda found: found["emotional_distance"])["reason"] = CHOSEN
    return judged


def refusal(candidate: dict, right: str, last: str, limits: Limits) -> str | None:
    """Why a scored candidate cannot be taken, one of `REFUSALS`; `None` where it can."""
    checks = (
        candidate["finish_reason"] == "prompt",
        not re.search(r"\w", candidate["text"]),
        candidate["finish_reason"] != "stop",
        INSTRUCTION_SHOWN.search(candidate["text"]) is not None,
        REFUSING.search(candidate["text"].replace("’", "'")) is not None,
        overlap(candidate["text"], right) >= limits.most_overlap,
        overlap(candidate["text"], last) >= limits.most_overlap,
        not limits.shortest <= candidate["length_ratio"] <= limits.longest,
        candidate["contextual_similarity"] < limits.contextual_floor,
    )
    return next((reason for reason, holds in zip(REFUSALS, checks) if holds), None)


def overlap(first: str, second: str) -> float:
    """Words that two texts share in the same order, twice over the words of both: 1 for the same words."""
    first, second = (re.findall(r"\w+", text.lower()) for text in (first, second))
    return SequenceMatcher(None, first, second, autojunk=False).ratio() if first and second else 0.0
