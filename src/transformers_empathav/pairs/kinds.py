"""
Kinds of preference pairs over the same contexts, so that what training gains can be told from what gives pairs away.

| kind | chosen | rejected |
| --- | --- | --- |
| counter_emotional | the human reply | written for another emotion, the farthest one within the limits |
| same_writer | written for the emotion of the human reply, by the same writer | as above, seen from that reply |
| nearest_written | what was written, the emotionally nearest to the human reply | as above, seen from that reply |
| human_other | the human reply | another human's reply of another emotion, the farthest one within the limits |
| exchanged | the human reply | that of a context of the opposite emotion, each once: the farthest ones in sum |
| random | the human reply | any other human's reply |
| opposite | the human reply | a human's reply in a dialogue of the opposite emotion (EmPO, arXiv 2406.19071) |
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..data.replies import reply_rows, text_of
from ..modeling.configuration_empathav import EMOTION_LABELS
from .choose import CHOSEN, NEARER, Limits, TextScores, judge


# Plutchik's opposites among the seven. His trust and anticipation, the opposites of disgust and surprise, are part of
# happy here, as they are where EmpatheticDialogues is brought to the seven; neutral has none.
OPPOSITE = {
    "happy": "sad",
    "sad": "happy",
    "angry": "fearful",
    "fearful": "angry",
    "disgust": "happy",
    "surprised": "happy",
}
ANYTHING = Limits(contextual_floor=-1.0, shortest=1e-9, longest=1e9, most_overlap=2.0)
WRITTEN = ("counter_emotional", "same_writer", "nearest_written")
RETRIEVED = ("human_other", "exchanged", "random", "opposite")
KINDS = WRITTEN + RETRIEVED


def context_rows(conversations: list[dict], max_turns: int | None, min_words: int) -> list[dict]:
    r"""
    [`reply_rows`] with what pairs need: `dialogue`, `right` (the words of the reply) and `context_emotion`, that of
    the newest message of the user that anybody labelled, also where the prompt no longer holds it.
    """
    cut = reply_rows(conversations, max_turns, min_words)
    whole = reply_rows(conversations, None, min_words)
    rows = []
    for row, full in zip(cut, whole):
        labelled = [
            message["emotion"] for message in full["prompt"] if message["role"] == "user" and message.get("emotion")
        ]
        rows.append(
            {
                **row,
                "dialogue": row["id"].rpartition("-")[0],
                "right": text_of(row["completion"][0]).strip(),
                "context_emotion": labelled[-1] if labelled else None,
            }
        )
    return [row for row in rows if row["right"] and text_of(row["prompt"][-1]).strip()]


def make_pairs(
    kind: str,
    rows: Sequence[dict],
    scores: TextScores,
    replies: dict[str, list[dict]] | None = None,
    pool: Sequence[dict] = (),
    limits: Limits = Limits(),  # noqa: B008 (it is frozen)
    seed: int = 0,
) -> tuple[list[dict], Counter]:
    r"""
    Pairs of one kind.

    Args:
        kind (`str`): One of `KINDS`.
        rows (`Sequence[dict]`): Of [`context_rows`].
        scores ([`TextScores`]): Knows the right replies, the written ones, those of the pool, and last messages.
        replies (`dict`, *optional*): What was written for each row, by its id; for the written kinds.
        pool (`Sequence[dict]`): Other rows, whose right replies may be taken; for humans' replies but `exchanged`.
        limits ([`Limits`]): What candidates must keep to.
        seed (`int`): Of the draws.

    Returns:
        `tuple[list[dict], Counter]`: Rows for TRL with `id`, `dialogue`, `prompt`, `chosen`, `rejected`, the measures
        of the pair, and all `candidates`; and how many candidates met which end, or rows without a pair.
    """
    if kind in WRITTEN:
        offers = dict(zip(WRITTEN, (counter_emotional, same_writer, nearest_written)))
        offer = offers[kind](replies, scores, limits)
    else:
        offers = dict(zip(RETRIEVED, (human_other, exchanged, any_other, opposite)))
        offer = offers[kind](rows if kind == "exchanged" else pool, scores, limits, seed)
    pairs, counts = [], Counter()
    for row in rows:
        right, candidates = offer(row)
        counts.update(candidate["reason"] for candidate in candidates)
        rejected = next((candidate for candidate in candidates if candidate["reason"] == CHOSEN), None)
        if rejected is None:
            counts["row without a pair"] += 1
            continue
        pairs.append(pair_row(row, kind, right, rejected, candidates, scores))
    return pairs, counts


def pair_row(row: dict, kind: str, right: str, rejected: dict, candidates: list[dict], scores: TextScores) -> dict:
    """One preference row, in TRL's conversational form."""
    return {
        "id": row["id"],
        "dialogue": row["dialogue"],
        "kind": kind,
        "prompt": row["prompt"],
        "chosen": [{"role": "assistant", "content": right}],
        "rejected": [{"role": "assistant", "content": rejected["text"]}],
        "emotion": right_emotion(row, scores),
        "emotion_by": "human" if row["emotion"] else "scorer",
        "rejected_emotion": rejected["emotion"],
        **{name: rejected[name] for name in ("emotional_distance", "contextual_similarity", "length_ratio")},
        "candidates": candidates,
    }


def right_emotion(row: dict, scores: TextScores) -> str:
    """The emotion of the right reply: a person's label, else the scorer's."""
    return row["emotion"] or scores.emotion(row["right"])


def counter_emotional(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """Written for every emotion but that of the right reply."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        emotion = right_emotion(row, scores)
        candidates = [reply for reply in replies[row["id"]] if reply["emotion"] != emotion]
        return row["right"], judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, limits)

    return offer


def same_writer(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """Both sides by the writer: what it wrote for the right emotion takes the place of the human reply."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        emotion = right_emotion(row, scores)
        (own,) = whole([reply for reply in replies[row["id"]] if reply["emotion"] == emotion], row, scores, limits)
        return against(own, replies[row["id"]], row, scores, limits)

    return offer


def nearest_written(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """
    Both sides by the writer: in the place of the human reply stands the one that is emotionally nearest to it,
    whatever emotion it was asked for, since a small writer does not always obey.
    """

    def offer(row: dict) -> tuple[str, list[dict]]:
        candidates = whole(replies[row["id"]], row, scores, limits)
        own = min(candidates, key=lambda one: (one["reason"] not in (CHOSEN, NEARER), one["emotional_distance"]))
        return against(own, replies[row["id"]], row, scores, limits)

    return offer


def whole(candidates: list[dict], row: dict, scores: TextScores, limits: Limits) -> list[dict]:
    """Candidates, judged by whether they can stand for the human reply: whole, and no copy of what was said."""
    may = replace(ANYTHING, most_overlap=limits.most_overlap)
    return judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, may)


def against(
    own: dict, candidates: list[dict], row: dict, scores: TextScores, limits: Limits
) -> tuple[str, list[dict]]:
    """What one author wrote in the place of the human reply, and what it wrote for other emotions."""
    if own["reason"] not in (CHOSEN, NEARER):
        return own["text"], [{**own, "reason": f"as right reply: {own['reason']}"}]
    others = [reply for reply in candidates if reply["emotion"] != own["emotion"]]
    return own["text"], judge(own["text"], others, text_of(row["prompt"][-1]), scores, limits)


def human_other(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """For every other emotion, of `nearest_of` human replies the one that is nearest in context and as long."""
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
                candidates.append({"emotion": emotion, "text": nearest["right"], "finish_reason": "stop"})
        return row["right"], judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, limits)

    return offer


def exchanged(rows: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """
    The right replies of contexts of opposite emotions change places, so that each is rejected once at most, and in sum
    as far from the right one as can be.

    Both sides then are the same texts, and nothing tells one from the other but what the context asks for. Where
    emotions and limits allow no reply a row has no candidate, and some reply is rejected nowhere.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ImportError("Pairs of exchanged replies need scipy: pip install scipy") from None
    right = [row["right"] for row in rows]
    at = [scores.index[text] for text in right]
    emotions, embeddings = (unit(table[at]) for table in (scores.emotions, scores.embeddings))
    words = np.array([len(text.split()) for text in right])
    ratios = words[None] / words[:, None]
    _, dialogues = np.unique([row["dialogue"] for row in rows], return_inverse=True)
    allowed = (ratios >= limits.shortest) & (ratios <= limits.longest)
    allowed &= (embeddings @ embeddings.T >= limits.contextual_floor) & (dialogues[:, None] != dialogues[None])
    if limits.opposite:
        felt = [row["context_emotion"] for row in rows]
        opposite = np.array([[OPPOSITE.get(one) == other for other in felt] for one in felt])
        allowed &= opposite | opposite.T
    distances = 1 - emotions @ emotions.T
    _, partners = linear_sum_assignment(np.where(allowed, distances, -len(rows)), maximize=True)
    partner = {row["id"]: rows[other] for row, other, may in zip(rows, partners, allowed) if may[other]}

    def offer(row: dict) -> tuple[str, list[dict]]:
        if (other := partner.get(row["id"])) is None:
            return row["right"], []
        candidate = {"emotion": right_emotion(other, scores), "text": other["right"], "finish_reason": "stop"}
        return row["right"], judge(row["right"], [candidate], text_of(row["prompt"][-1]), scores, limits)

    return offer


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows brought to a length of 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def any_other(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """One human reply of another dialogue, whatever it is."""
    return lambda row: (row["right"], drawn_from(pool, row, scores, seed))


def opposite(pool: Sequence[dict], scores: TextScores, limits: Limits, seed: int) -> Callable:
    """One human reply of a dialogue whose emotion is the opposite; none where the context's emotion has none."""
    by_context = {emotion: [row for row in pool if row["context_emotion"] == emotion] for emotion in EMOTION_LABELS}

    def offer(row: dict) -> tuple[str, list[dict]]:
        others = by_context.get(OPPOSITE.get(row["context_emotion"]), [])
        return row["right"], drawn_from(others, row, scores, seed)

    return offer


def drawn_from(pool: Sequence[dict], row: dict, scores: TextScores, seed: int) -> list[dict]:
    """One reply of another dialogue and with other words, drawn by the row's id, and chosen without further ado."""
    drawn = random.Random(f"{seed} {row['id']}").sample(pool, min(len(pool), 100))
    others = (other for other in drawn if other["dialogue"] != row["dialogue"] and other["right"] != row["right"])
    if (other := next(others, None)) is None:
        return []
    candidate = {"emotion": right_emotion(other, scores), "text": other["right"], "finish_reason": "stop"}
    (judged,) = judge(row["right"], [candidate], text_of(row["prompt"][-1]), scores, ANYTHING)
    return [{**judged, "reason": CHOSEN}]
