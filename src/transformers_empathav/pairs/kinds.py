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
| own_reaction | drawn from the writer: of the speaker's valence, by people's label | drawn too: of the other valence |
| other_history | the human reply | the one of a dialogue that ends with the same message and tells something else |
| reaction_exchanged | the human reply | the same behind another human's reaction, of the opposite feeling |
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..data.replies import text_of
from ..data.valences import EMOTION_VALENCES, speaker_valence
from ..modeling.configuration_empathav import EMOTION_LABELS
from .choose import CHOSEN, NEARER, Limits, TextScores, judge
from .human_replies import ANYTHING, any_other, exchanged, human_other, opposite, other_history, right_emotion


WRITTEN = ("counter_emotional", "same_writer", "nearest_written")
RETRIEVED = ("human_other", "exchanged", "random", "opposite", "other_history")
JOINED = ("reaction_exchanged",)
DRAWN = ("own_reaction",)
KINDS = WRITTEN + RETRIEVED + JOINED + DRAWN


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
            for `JOINED` ones what [`exchange_reactions`] gives, for `DRAWN` ones what it drew as it would.
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
    elif kind in JOINED + DRAWN:
        offer = reaction_exchanged(replies, scores) if kind in JOINED else own_reaction(replies, scores, limits)
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


def reaction_exchanged(replies: dict[str, list[dict]], scores: TextScores) -> Callable:
    """Offers what [`exchange_reactions`] joined, whatever its scores: an exchange holds on both sides or on none."""

    def offer(row: dict) -> tuple[str, list[dict]]:
        candidates = [{"emotion": scores.emotion(reply["text"]), **reply} for reply in replies.get(row["id"], [])]
        judged = judge(row["right"], candidates, text_of(row["prompt"][-1]), scores, ANYTHING)
        return row["right"], [{**candidate, "reason": CHOSEN} for candidate in judged]

    return offer


def own_reaction(replies: dict[str, list[dict]], scores: TextScores, limits: Limits) -> Callable:
    """
    Takes the drawn reply that most has the valence of what the speaker lived through, against the one that least has
    it, where the likeliest emotion of one is on the speaker's side and that of the other on the opposite one.
    """
    valences = np.array([EMOTION_VALENCES[emotion] for emotion in EMOTION_LABELS])

    def offer(row: dict) -> tuple[str, list[dict]]:
        wanted = speaker_valence(row)
        drawn = [reply for reply in replies[row["id"]] if reply["finish_reason"] == "stop" and reply["text"]]
        if not wanted or not drawn:
            return row["right"], []
        drawn = [{**reply, "emotion": scores.emotion(reply["text"])} for reply in drawn]
        fits = [wanted * float(scores.emotions[scores.index[reply["text"]]] @ valences) for reply in drawn]
        right, wrong = drawn[int(np.argmax(fits))], drawn[int(np.argmin(fits))]
        if EMOTION_VALENCES[right["emotion"]] != wanted or EMOTION_VALENCES[wrong["emotion"]] != -wanted:
            return row["right"], []
        return right["text"], judge(right["text"], [wrong], text_of(row["prompt"][-1]), scores, limits)

    return offer
