r"""
Exchanges reactions between human replies, so that a reply keeps its words but for the reaction that it begins with.

Many replies react with their first sentence and ask or tell something with the rest. A pleasant reaction and an
unpleasant one of about the same length change places. Each reaction, and each rest, then stands as often among the
right replies as among the others: words and lengths of the two sides are the same, and only the context tells which
reaction belongs.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..modeling.configuration_empathav import EMOTION_LABELS


UNPLEASANT = ("angry", "disgust", "fearful", "sad")  # happy is pleasant; neutral and surprised are neither
REACTION = re.compile(r"([^.!?]*\w[^.!?]*[.!]+)\s+(\S.*)", re.DOTALL)
WORD = re.compile(r"[\w']+")


@dataclass(frozen=True)
class ReactionLimits:
    """Which replies take part in an exchange of reactions. The fields are command-line options of the recipe too."""

    clear: float = field(
        default=0.5, metadata={"help": "How much pleasant must outweigh unpleasant in a reaction, or the reverse."}
    )
    reaction_words: int = field(default=8, metadata={"help": "Words of a reaction, at most."})
    said_by: int = field(
        default=20, metadata={"help": "Reactions that have each word of it, at least: others name their topic."}
    )
    reaction_difference: int = field(default=1, metadata={"help": "Words that a reaction may be longer or shorter."})
    fluency_loss: float = field(
        default=0.3, metadata={"help": "Nats a token that the exchange may cost under the writer, at most."}
    )
    fluency_words: int = field(default=6, metadata={"help": "Words behind the reaction that fluency is judged by."})
    exchange_rounds: int = field(default=3, metadata={"help": "Times that what failed is assigned anew."})
    exchange_block: int = field(default=1000, metadata={"help": "Replies of either kind that are assigned at once."})


@dataclass(frozen=True)
class Reply:
    """A right reply in two parts. `felt` is 1 where its reaction is pleasant, -1 where it is unpleasant."""

    row: dict
    reaction: str
    rest: str
    felt: int

    def behind(self, other: "Reply", words: int | None = None) -> str:
        """The rest of this reply, or its first words, behind the reaction of another one."""
        rest = self.rest if words is None else " ".join(self.rest.split()[:words])
        return f"{other.reaction} {rest}"


def exchange_reactions(
    rows: Sequence[dict],
    judges: Sequence[Callable[[list[str]], np.ndarray]],
    fluency: Callable[[list[str]], np.ndarray],
    limits: ReactionLimits = ReactionLimits(),  # noqa: B008 (it is frozen)
    seed: int = 0,
) -> tuple[list[dict], dict[str, list[dict]], Counter]:
    r"""
    Exchanges the reactions of replies, each with one of the opposite feeling.

    A reply takes part if its reaction is clear to all judges and fits the emotion of the context, if all of its words
    are common among reactions, and if the rest by itself is clear to none. Partners are assigned so that reactions
    differ least in length and most in emotion. An exchange counts only where both new replies are felt as their
    reaction by all judges, and begin about as fluently as the right ones; others are assigned anew.

    Args:
        rows (`Sequence[dict]`): Contexts of [`context_rows`].
        judges (`Sequence[Callable]`): Texts to probabilities `(texts, 7)`, such as two [`EmotionScorer`].
        fluency (`Callable`): Texts to their mean log-probability, `(texts,)`.
        limits ([`ReactionLimits`], *optional*): Which replies take part.
        seed (`int`, *optional*, defaults to 0): Of the order in which replies are assigned.

    Returns:
        `tuple[list[dict], dict[str, list[dict]], Counter]`: The rows that take part, in their order, with `exchange`:
        rows whose dialogues are tied by exchanges share its name. The new reply of each, by the id of the row. And
        counts of what became of the others.
    """
    counts = Counter()
    replies = taking_part(rows, judges, limits, counts)
    random.Random(seed).shuffle(replies)
    tried, exchanges = set(), []
    for _ in range(limits.exchange_rounds):
        taken = {reply.row["id"] for exchange in exchanges for reply in exchange}
        left = [reply for reply in replies if reply.row["id"] not in taken]
        proposed = assigned(left, judges, limits, tried)
        tried |= {(one.row["id"], other.row["id"]) for one, other in proposed}
        exchanges += holding(proposed, judges, fluency, limits)
    partners = {one.row["id"]: other for pair in exchanges for one, other in (pair, pair[::-1])}
    counts["no partner"] = len(replies) - len(partners)
    names = tied_dialogues(exchanges)
    kept = [{**row, "exchange": names[row["dialogue"]]} for row in rows if row["id"] in partners]
    own = {reply.row["id"]: reply for reply in replies}
    texts = {row["id"]: own[row["id"]].behind(partners[row["id"]]) for row in kept}
    return kept, {name: [{"text": text, "finish_reason": "stop"}] for name, text in texts.items()}, counts


def parts_of(text: str) -> tuple[str, str] | None:
    """The first sentence of a reply and the rest; `None` where it asks, or there is no rest."""
    found = REACTION.match(text.strip())
    return (found[1], found[2]) if found else None


def felt_in(emotion: str | None) -> int:
    """1 for an emotion that is pleasant, -1 for one that is unpleasant, else 0."""
    return int(emotion == "happy") - int(emotion in UNPLEASANT)


def feelings(texts: Sequence[str], judges: Sequence[Callable], clear: float) -> np.ndarray:
    """1 where all judges find a text pleasant, and on average clearly so; -1 where it is unpleasant; else 0."""
    unique = sorted(set(texts))
    signs = np.array([felt_in(emotion) for emotion in EMOTION_LABELS])
    values = np.stack([judge(unique) @ signs for judge in judges]) if unique else np.zeros((len(judges), 0))
    agree = np.abs(np.sign(values).sum(axis=0)) == len(judges)
    side = np.sign(values.mean(axis=0)) * (agree & (np.abs(values.mean(axis=0)) >= clear))
    found = dict(zip(unique, side.astype(int)))
    return np.array([found[text] for text in texts], dtype=int)


def taking_part(
    rows: Sequence[dict], judges: Sequence[Callable], limits: ReactionLimits, counts: Counter
) -> list[Reply]:
    """The replies that can exchange their reaction. Of the others `counts` gets the reason."""

    def only(name: str, items: list, keep: Sequence) -> list:
        counts[name] += len(items) - int(np.sum(keep))
        return [item for item, may in zip(items, keep) if may]

    cut = [(row, *(parts_of(row["right"]) or ("", ""))) for row in rows if felt_in(row["context_emotion"])]
    counts["emotion without an opposite"] = len(rows) - len(cut)
    cut = only("no reaction", cut, [0 < len(reaction.split()) <= limits.reaction_words for _, reaction, _ in cut])
    felt = feelings([reaction for _, reaction, _ in cut], judges, limits.clear)
    clear = [Reply(*item, int(sign)) for item, sign in zip(cut, felt)]
    clear = only("unclear reaction", clear, felt != 0)
    clear = only(
        "reaction against the context", clear, [one.felt == felt_in(one.row["context_emotion"]) for one in clear]
    )
    said = Counter(word for one in clear for word in set(words(one.reaction)))
    clear = only(
        "reaction with its topic", clear, [min(map(said.get, words(one.reaction))) >= limits.said_by for one in clear]
    )
    clear = only("rest with a feeling", clear, feelings([one.rest for one in clear], judges, limits.clear) == 0)
    whole = feelings([one.row["right"] for one in clear], judges, 0.0)
    return only("reply felt otherwise", clear, [sign == one.felt for sign, one in zip(whole, clear)])


def words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return WORD.findall(text.lower())


def assigned(
    replies: Sequence[Reply], judges: Sequence[Callable], limits: ReactionLimits, tried: set[tuple[str, str]]
) -> list[tuple[Reply, Reply]]:
    """Pairs of a pleasant and an unpleasant reply, by linear assignment in blocks."""
    try:
        from scipy.optimize import linear_sum_assignment
        from sklearn.metrics.pairwise import cosine_similarity
    except ImportError:
        raise ImportError("Exchanged reactions need scipy and scikit-learn: pip install scikit-learn") from None
    sides = [[one for one in replies if one.felt == sign] for sign in (1, -1)]
    blocks = max(1, -(-min(map(len, sides)) // limits.exchange_block))
    found = []
    for block in range(blocks):
        first, second = (side[block::blocks] for side in sides)
        if not first or not second:
            continue
        emotions = [judges[0]([one.reaction for one in side]) for side in (first, second)]
        lengths = [np.array([len(one.reaction.split()) for one in side]) for side in (first, second)]
        apart = np.abs(lengths[0][:, None] - lengths[1][None])
        fresh = np.array([[(one.row["id"], other.row["id"]) not in tried for other in second] for one in first])
        strange = np.array([[one.row["dialogue"] != other.row["dialogue"] for other in second] for one in first])
        allowed = (apart <= limits.reaction_difference) & fresh & strange
        cost = np.where(allowed, apart + cosine_similarity(*emotions), 1000.0 + limits.reaction_difference)
        found += [(first[i], second[j]) for i, j in zip(*linear_sum_assignment(cost)) if allowed[i, j]]
    return found


def holding(
    proposed: Sequence[tuple[Reply, Reply]], judges: Sequence[Callable], fluency: Callable, limits: ReactionLimits
) -> list[tuple[Reply, Reply]]:
    """The exchanges whose new replies both are felt as their reaction, and about as fluent as the right ones."""
    both = [(one, other) for pair in proposed for one, other in (pair, pair[::-1])]
    texts = [one.behind(other) for one, other in both]
    good = feelings(texts, judges, 0.0) == np.array([other.felt for _, other in both], dtype=int)
    good = np.repeat(good.reshape(-1, 2).all(axis=1), 2)
    asked = np.flatnonzero(good)
    new, right = (
        fluency([both[index][0].behind(both[index][side], limits.fluency_words) for index in asked]) for side in (1, 0)
    )
    good[asked] = new >= right - limits.fluency_loss
    return [pair for pair, may in zip(proposed, good.reshape(-1, 2).all(axis=1)) if may]


def tied_dialogues(exchanges: Sequence[tuple[Reply, Reply]]) -> dict[str, str]:
    """A name for each dialogue, the same for those that exchanges tie: no word of one stands beyond its name."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = sorted({reply.row["dialogue"] for exchange in exchanges for reply in exchange})
    if not names:
        return {}
    index = {name: number for number, name in enumerate(names)}
    ends = np.array([[index[one.row["dialogue"]] for one in exchange] for exchange in exchanges]).reshape(-1, 2).T
    _, parts = connected_components(coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(len(names),) * 2))
    return {name: f"exchange-{part}" for name, part in zip(names, parts)}
