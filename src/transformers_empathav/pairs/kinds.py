"""
Kinds of preference pairs over the same contexts. Train on several to see what is gained by style or length alone.

| kind | chosen | rejected |
| --- | --- | --- |
| counter_emotional | the human reply | written for another emotion: the farthest one within the limits |
| same_writer | written for the emotion of the human reply, by the same writer | as above, judged against that reply |
| nearest_written | the written reply that is emotionally nearest to the human one | as above |
| human_other | the human reply | a human reply of another emotion: the farthest one within the limits |
| exchanged | the human reply | the human reply of a context of the opposite emotion, each used once |
| random | the human reply | any other human reply |
| opposite | the human reply | a human reply of a dialogue of the opposite emotion (EmPO, arXiv 2406.19071) |
| other_history | the human reply | the one of a dialogue that ends with the same message and tells something else |
| reaction_exchanged | the human reply | the same behind another human's reaction, of the opposite feeling |
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..data.replies import text_of
from ..modeling.configuration_empathav import EMOTION_LABELS
from .choose import CHOSEN, NEARER, Limits, TextScores, judge


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
WRITTEN = ("counter_emotional", "same_writer", "nearest_written")
RETRIEVED = ("human_other", "exchanged", "random", "opposite", "other_history")
JOINED = ("reaction_exchanged",)
KINDS = WRITTEN + RETRIEVED + JOINED


def texts_to_score(
    rows: Sequence[dict], pool: Sequence[dict] = (), replies: dict[str, list[dict]] | None = None
) -> list[str]:
    """All texts that [`make_pairs`] looks up in its `scores`."""
    texts = [row["right"] for row in (*rows, *pool)] + [text_of(row["prompt"][-1]) for row in rows]
    return texts + [reply["text"] for written in (replies or {}).values() for reply in written]


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
    Makes the pairs of one kind, one a row at most.

    Args:
        kind (`str`): One of `KINDS`.
        rows (`Sequence[dict]`): Contexts of [`context_rows`].
        scores ([`TextScores`]): Of all texts of [`texts_to_score`].
        replies (`dict[str, list[dict]]`, *optional*): What was written for each row, by its id, for `WRITTEN` kinds;
            for `JOINED` ones what [`exchange_reactions`] gives.
        pool (`Sequence[dict]`, *optional*): Rows whose right replies may be rejected ones. For `RETRIEVED` kinds other
            than `exchanged`, which takes them from `rows`.
        limits ([`Limits`], *optional*): What candidates must keep to.
        seed (`int`, *optional*, defaults to 0): Of the draws.

    Returns:
        `tuple[list[dict], Counter]`: Rows for TRL with `id`, `dialogue`, `prompt`, `chosen`, `rejected`, the measures
        of the pair, and all `candidates`. And counts: of candidates by `reason`, and of rows without a pair.
    """
    if kind in WRITTEN:
        offers = dict(zip(WRITTEN, (counter_emotional, same_writer, nearest_written)))
        offer = offers[kind](replies, scores, limits)
    elif kind in JOINED:
        offer = reaction_exchanged(replies, scores)
    else:
        offers = dict(zip(RETRIEVED, (human_other, exchanged, any_other, opposite, other_history)))
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
    """One preference row in TRL's conversational form."""
    return {
        "id": row["id"],
        "dialogue": row["dialogue"],
        "kind": kind,
        "exchange": row.get("exchange"),
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
    """The emotion of the right reply: a person's label, else the classifier's."""
    return row["emotion"] or scores.emotion(row["right"])


def counter_emotional(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """Offers what was written for every emotion other than that of the right reply."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        emotion = right_emotion(row, scores)
        candidates = [reply for reply in replies[row["id"]] if reply["emotion"] != emotion]
        return row["right"], judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, limits)

    return offer


def same_writer(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """Takes what the writer wrote for the right emotion in place of the human reply."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        emotion = right_emotion(row, scores)
        (own,) = whole([reply for reply in replies[row["id"]] if reply["emotion"] == emotion], row, scores, limits)
        return against(own, replies[row["id"]], row, scores, limits)

    return offer


def nearest_written(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """
    Takes the written reply that is emotionally nearest to the human one in its place, whatever emotion it was asked
    for: a small writer does not always obey.
    """

    def offer(row: dict) -> tuple[str, list[dict]]:
        candidates = whole(replies[row["id"]], row, scores, limits)
        own = min(candidates, key=lambda one: (one["reason"] not in (CHOSEN, NEARER), one["emotional_distance"]))
        return against(own, replies[row["id"]], row, scores, limits)

    return offer


def whole(candidates: list[dict], row: dict, scores: TextScores, limits: Limits) -> list[dict]:
    """Judges whether candidates can stand for the human reply: whole, and no copy of what was said."""
    may = replace(ANYTHING, most_overlap=limits.most_overlap)
    return judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, may)


def against(
    own: dict, candidates: list[dict], row: dict, scores: TextScores, limits: Limits
) -> tuple[str, list[dict]]:
    """Judges what the writer wrote for other emotions against `own`, its reply in place of the human one."""
    if own["reason"] not in (CHOSEN, NEARER):
        return own["text"], [{**own, "reason": f"as right reply: {own['reason']}"}]
    others = [reply for reply in candidates if reply["emotion"] != own["emotion"]]
    return own["text"], judge(own["text"], others, text_of(row["prompt"][-1]), scores, limits)


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


def reaction_exchanged(replies: dict[str, list[dict]], scores: TextScores) -> Callable:
    """Offers what [`exchange_reactions`] joined, whatever its scores: an exchange holds on both sides or on none."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        candidates = [{"emotion": scores.emotion(reply["text"]), **reply} for reply in replies.get(row["id"], [])]
        judged = judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, ANYTHING)
        return row["right"], [{**candidate, "reason": CHOSEN} for candidate in judged]

    return offer


def human_candidate(row: dict, emotion: str) -> dict:
    """The right reply of a row as a candidate of another one."""
    return {"emotion": emotion, "text": row["right"], "finish_reason": "stop"}
