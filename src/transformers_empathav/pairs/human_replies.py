"""Replies of other people as rejected ones: which reply of a pool stands against the right reply of a row."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ..data.replies import text_of
from ..modeling.configuration_empathav import EMOTION_LABELS
from .choose import CHOSEN, Limits, TextScores, judge


# Plutchik's opposites among the seven emotions. His trust and anticipation, the opposites of disgust and surprise,
# count as happy here, as in the loader of EmpatheticDialogues. Neutral has no opposite.
OPPOSITE = {
    "happy": "sad",
    "sad": "happy",
    "angry": "fearful",
    "fearful": "angry",
    "disgust": "happy",
    "surprised": "happy",
}
ANYTHING = Limits(contextual_floor=-1.0, shortest=1e-9, longest=1e9, most_overlap=2.0)


def human_other(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """Offers for every other emotion the human reply nearest in context, out of `nearest_of` drawn ones."""
    by_emotion = {emotion: [] for emotion in EMOTION_LABELS}
    for other in pool:
        by_emotion[right_emotion(other, scores)].append(other)

    def offer(row: dict) -> tuple[str, list[dict]]:
        draw, candidates = random.Random(f"{seed} {row['id']}"), []
        for emotion in EMOTION_LABELS:
            if emotion == right_emotion(row, scores):
                continue
            others = [other for other in by_emotion[emotion] if other["dialogue"] != row["dialogue"]]
            others = draw.sample(others, min(limits.nearest_of, len(others)))
            ratios = [len(other["right"].split()) / len(row["right"].split()) for other in others]
            others = [other for other, ratio in zip(others, ratios) if limits.shortest <= ratio <= limits.longest]
            if others:
                vectors = scores.embeddings[[scores.index[other["right"]] for other in others]]
                nearest = others[int(np.argmax(vectors @ scores.embeddings[scores.index[row["right"]]]))]
                candidates.append(human_candidate(nearest, emotion))
        return row["right"], judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, limits)

    return offer


def exchanged(rows: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """
    Exchanges the right replies of contexts of opposite emotions: each is rejected at most once, and the sum of
    emotional distances is as large as possible.

    Chosen and rejected replies are then the same texts, so only the context tells which is which. A row for which
    emotions and limits allow no reply has no candidate.
    """
    try:
        from scipy.optimize import linear_sum_assignment
        from sklearn.metrics.pairwise import cosine_similarity
    except ImportError:
        raise ImportError("Pairs of exchanged replies need scipy and scikit-learn: pip install scikit-learn") from None
    right = [row["right"] for row in rows]
    at = [scores.index[text] for text in right]
    words = np.array([len(text.split()) for text in right])
    ratios = words[None] / words[:, None]
    _, dialogues = np.unique([row["dialogue"] for row in rows], return_inverse=True)
    allowed = (ratios >= limits.shortest) & (ratios <= limits.longest) & (dialogues[:, None] != dialogues[None])
    allowed &= cosine_similarity(scores.embeddings[at]) >= limits.contextual_floor
    if limits.opposite:
        felt = [row["context_emotion"] for row in rows]
        opposite = np.array([[OPPOSITE.get(one) == other for other in felt] for one in felt])
        allowed &= opposite | opposite.T
    distances = 1 - cosine_similarity(scores.emotions[at])
    _, partners = linear_sum_assignment(np.where(allowed, distances, -len(rows)), maximize=True)
    partner = {row["id"]: rows[other] for row, other, may in zip(rows, partners, allowed) if may[other]}

    def offer(row: dict) -> tuple[str, list[dict]]:
        if (other := partner.get(row["id"])) is None:
            return row["right"], []
        candidate = human_candidate(other, right_emotion(other, scores))
        return row["right"], judge(row["right"], [candidate], text_of(row["prompt"][-1]), scores, limits)

    return offer


def any_other(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """Offers one human reply of another dialogue, whatever it is."""
    return lambda row: (row["right"], drawn_from(pool, row, scores, seed))


def opposite(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """Offers one human reply of a dialogue of the opposite emotion; none where the emotion has no opposite."""
    by_context = {emotion: [row for row in pool if row["context_emotion"] == emotion] for emotion in EMOTION_LABELS}

    def offer(row: dict) -> tuple[str, list[dict]]:
        others = by_context.get(OPPOSITE.get(row["context_emotion"]), [])
        return row["right"], drawn_from(others, row, scores, seed)

    return offer


def other_history(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """
    Offers the human reply of another dialogue whose newest message has the same words; none where there is no such
    dialogue. What was said before, in words or in the memory, is then all that tells right from wrong.
    """
    by_newest = defaultdict(list)
    for other in pool:
        by_newest[newest(other)].append(other)
    return lambda row: (row["right"], drawn_from(by_newest[newest(row)], row, scores, seed))


def newest(row: dict) -> str:
    """The words of the newest message, whatever their case and spaces."""
    return " ".join(text_of(row["prompt"][-1]).lower().split())


def drawn_from(pool: Sequence[dict], row: dict, scores: TextScores, seed: int) -> list[dict]:
    """One reply of another dialogue with other words, drawn by the row's id and chosen whatever its scores."""
    drawn = random.Random(f"{seed} {row['id']}").sample(pool, min(len(pool), 100))
    others = (other for other in drawn if other["dialogue"] != row["dialogue"] and other["right"] != row["right"])
    if (other := next(others, None)) is None:
        return []
    candidate = human_candidate(other, right_emotion(other, scores))
    (judged,) = judge(row["right"], [candidate], text_of(row["prompt"][-1]), scores, ANYTHING)
    return [{**judged, "reason": CHOSEN}]


def human_candidate(row: dict, emotion: str) -> dict:
    """The right reply of a row as a candidate of another one."""
    return {"emotion": emotion, "text": row["right"], "finish_reason": "stop"}


def right_emotion(row: dict, scores: TextScores) -> str:
    """The emotion of the right reply: a person's label, else the classifier's."""
    return row["emotion"] or scores.emotion(row["right"])
