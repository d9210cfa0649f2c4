"""
Chooses the rejected reply among candidates: the emotionally farthest from the right reply, of those that are whole and
similar to it in content and length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from ..emotion.sentence_embedder import SentenceEmbedder
from ..emotion.similarity import cosine, emotional_distance
from ..emotion.text_classifier import EmotionScorer
from ..modeling.configuration_empathav import EMOTION_LABELS


CHOSEN, NEARER = "chosen", "nearer in emotion"
# Reasons to refuse a candidate. They are tried in this order, and the first that holds is given.
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
    """What a candidate must keep to. The fields are command-line options of the recipe too."""

    contextual_floor: float = field(default=0.2, metadata={"help": "Least contextual similarity to the right reply."})
    shortest: float = field(default=0.5, metadata={"help": "Least words over those of the right reply."})
    longest: float = field(default=2.0, metadata={"help": "Most words over those of the right reply."})
    most_overlap: float = field(default=0.8, metadata={"help": "Word overlap from which on a candidate is a copy."})
    nearest_of: int = field(
        default=200,
        metadata={"help": "Human replies of an emotion, of which the nearest in context is a candidate; 1 draws any."},
    )
    opposite: bool = field(
        default=True, metadata={"help": "Exchange replies between contexts of opposite emotions alone."}
    )

    def __post_init__(self):
        if not 0 < self.shortest <= 1 <= self.longest:
            raise ValueError(
                f"A band of {self.shortest:g} to {self.longest:g} times the length does not hold the length itself: "
                "shortest must be above 0 and at most 1, longest at least 1."
            )


class TextScores:
    r"""
    Emotion distributions and sentence embeddings of many texts, computed once.

    Args:
        texts (`Sequence[str]`): All texts that will be looked up, such as [`texts_to_score`].
        scorer ([`EmotionScorer`]): Judges their emotion.
        embedder ([`SentenceEmbedder`]): Embeds them.
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
        """Probability of one emotion in a text."""
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
    Scores candidates and chooses one of them at most.

    Args:
        right (`str`): The right reply.
        candidates (`Sequence[dict]`): With `emotion`, `text` and `finish_reason`.
        last (`str`): The user's last message.
        scores ([`TextScores`]): Of all these texts.
        limits ([`Limits`], *optional*): What a candidate must keep to.

    Returns:
        `list[dict]`: All candidates in their order, with `emotional_distance` and `contextual_similarity` to the right
        reply, `words`, `length_ratio`, `obedience` (probability of the emotion that was asked for) and `reason`:
        `chosen`, `nearer in emotion`, or one of `REFUSALS`.
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
    """The first of `REFUSALS` that holds for a scored candidate; `None` where it may be chosen."""
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
    """Word overlap of two texts (Ratcliff-Obershelp): words shared in the same order, 1 for the same words."""
    first, second = (re.findall(r"\w+", text.lower()) for text in (first, second))
    return SequenceMatcher(None, first, second, autojunk=False).ratio() if first and second else 0.0
