"""The exchange of reactions, by judges that are written by hand."""

from collections import Counter

import numpy as np
import pytest

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.choose import TextScores
from transformers_empathav.pairs.contexts import context_rows
from transformers_empathav.pairs.kinds import make_pairs
from transformers_empathav.pairs.reactions import ReactionLimits, exchange_reactions, feelings, parts_of
from transformers_empathav.pairs.style_leak import pair_measures


GLAD = ("That is great!", "How lovely.", "Oh wonderful!", "I am so glad.")
SORRY = ("That is awful!", "How terrible.", "Oh dear!", "I am so sorry.")
KNOWN = {"happy": {"great", "lovely", "wonderful", "glad"}, "sad": {"awful", "terrible", "dear", "sorry"}}
LIMITS = ReactionLimits(said_by=1)


def judge(texts, share: float = 0.8) -> np.ndarray:
    """Happy by the words of gladness, sad by those of sorrow, else neutral."""
    rows = []
    for text in texts:
        words = set(text.lower().replace("!", " ").replace(".", " ").split())
        row = np.full(7, 0.02)
        given = [emotion for emotion, known in KNOWN.items() if words & known]
        for emotion in given or ["neutral"]:
            row[EMOTION_LABELS.index(emotion)] += share
        rows.append(row / row.sum())
    return np.stack(rows) if rows else np.zeros((0, 7))


def fluent(texts) -> np.ndarray:
    return np.zeros(len(texts))


def embed(texts) -> np.ndarray:
    return np.stack([np.random.default_rng(len(text)).normal(size=5) for text in texts])


def talk(number: int, emotion: str, *replies: str) -> dict:
    """A dialogue of a user who feels something, with replies."""
    messages = []
    for turn, reply in enumerate(replies):
        messages.append({"role": "user", "content": f"What happened in {number} at {turn}"})
        messages.append({"role": "assistant", "content": reply})
    messages[0]["emotion"] = emotion
    return {"id": f"talk-{number}", "messages": messages}


def rows_of(count: int) -> list[dict]:
    """Half of the dialogues are happy, half are sad; each reply reacts and asks something of its own."""
    talks = []
    for number in range(count):
        reactions = SORRY if number % 2 else GLAD
        replies = [
            f"{reactions[(number // 2 + turn) % 4]} Did you say {number} or {turn}?"
            for turn in range(1 + number % 3 // 2)
        ]
        talks.append(talk(number, "sad" if number % 2 else "happy", *replies))
    return context_rows(talks, 8, 1)


def exchanged(rows, judges=(judge,), fluency=fluent, limits=LIMITS, seed=0):
    kept, joined, counts = exchange_reactions(rows, judges, fluency, limits, seed)
    texts = [row["right"] for row in kept] + [reply["text"] for (reply,) in joined.values()]
    pairs, _ = make_pairs("reaction_exchanged", kept, TextScores(texts, judge, embed), joined) if kept else ([], None)
    return pairs, counts


def sides(pairs) -> tuple[list[str], list[str]]:
    return tuple([pair[side][0]["content"] for pair in pairs] for side in ("chosen", "rejected"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Oh no! What did you do?", ("Oh no!", "What did you do?")),
        ("  That is so sad... I hope it ends. Soon!", ("That is so sad...", "I hope it ends. Soon!")),
        ("Oh nein, Müller!! Wirklich?", ("Oh nein, Müller!!", "Wirklich?")),
        ("What? I am sorry.", None),
        ("I am sorry.", None),
        ("I am sorry", None),
        ("... and then?", None),
        ("", None),
        ("!!! ???", None),
    ],
)
def test_a_reply_in_two_parts(text, parts):
    assert parts_of(text) == parts


def test_both_sides_have_the_same_words_and_the_opposite_feeling():
    rows = rows_of(60)
    pairs, counts = exchanged(rows)
    assert len(pairs) > 50 and not +counts - Counter({"no partner": 60})
    chosen, rejected = sides(pairs)
    assert sorted(parts_of(text)[0] for text in chosen) == sorted(parts_of(text)[0] for text in rejected)
    for pair, right, wrong in zip(pairs, chosen, rejected):
        assert parts_of(right)[1] == parts_of(wrong)[1] and pair["kind"] == "reaction_exchanged"
        assert feelings([right], [judge], 0.5) == -feelings([wrong], [judge], 0.5)
        assert abs(len(right.split()) - len(wrong.split())) <= 1
        assert pair["emotional_distance"] > 0.5 and pair["candidates"][0]["reason"] == "chosen"
    assert chosen == [row["right"] for row in rows if row["id"] in {pair["id"] for pair in pairs}]


def test_a_bag_of_words_is_at_chance():
    measures = pair_measures(exchanged(rows_of(120))[0])
    assert 0.45 <= measures["style_texts"] <= 0.55 and 0.45 <= measures["style_pairs"] <= 0.55
    assert not measures["leaks"] and 0.45 <= measures["rejected_longer"] <= 0.55


def test_exchanges_are_closed_within_their_names():
    """So a fold of the cross-validation holds a reaction as often on either side."""
    pairs, _ = exchanged(rows_of(60))
    by_name = {}
    for pair in pairs:
        by_name.setdefault(pair["exchange"], []).append(pair)
    assert len(by_name) > 5
    for some in by_name.values():
        chosen, rejected = sides(some)
        assert Counter(" ".join(chosen).split()) == Counter(" ".join(rejected).split())
    of_dialogue = {(pair["dialogue"], pair["exchange"]) for pair in pairs}
    assert len(of_dialogue) == len({dialogue for dialogue, _ in of_dialogue})


def test_the_seed_decides_and_the_order_of_rows_stays():
    rows = rows_of(40)
    assert exchanged(rows) == exchanged(rows)
    assert sides(exchanged(rows)[0])[1] != sides(exchanged(rows, seed=1)[0])[1]


def test_blocks_and_the_whole_give_closed_exchanges():
    for block in (3, 1000):
        chosen, rejected = sides(exchanged(rows_of(40), limits=ReactionLimits(said_by=1, exchange_block=block))[0])
        assert chosen and Counter(" ".join(chosen).split()) == Counter(" ".join(rejected).split())


def test_all_judges_have_to_agree():
    rows = rows_of(20)
    assert exchanged(rows, judges=(judge, lambda texts: judge(texts)[:, [0, 1, 2, 5, 4, 3, 6]]))[0] == []
    pairs, counts = exchanged(rows, judges=(judge, lambda texts: np.eye(7)[[4] * len(texts)]))
    assert pairs == [] and counts["unclear reaction"] == len(rows)


@pytest.mark.parametrize(
    ("emotion", "reply", "reason"),
    [
        ("neutral", "That is great! Did you go?", "emotion without an opposite"),
        (None, "That is great! Did you go?", "emotion without an opposite"),
        ("happy", "Did you go?", "no reaction"),
        ("happy", "That is a thing that is great for all of us. Did you go?", "no reaction"),
        ("happy", "I see. Did you go?", "unclear reaction"),
        ("happy", "That is awful! Did you go?", "reaction against the context"),
        ("happy", "That zebra is great! Did you go?", "reaction with its topic"),
        ("happy", "That is great! I am so glad.", "rest with a feeling"),
    ],
)
def test_who_takes_no_part(emotion, reply, reason):
    others = [*rows_of(24), *context_rows([talk(99, emotion, reply)], 8, 1)]
    pairs, counts = exchanged(others, limits=ReactionLimits(said_by=2, reaction_words=6))
    assert counts[reason] == 1 and "talk-99" not in {pair["dialogue"] for pair in pairs}


def test_an_exchange_that_fails_on_one_side_is_none():
    def picky(texts):
        return np.array([-5.0 if text.startswith("That is awful! Did you say 0") else 0.0 for text in texts])

    pairs, counts = exchanged(rows_of(12), fluency=picky)
    chosen, rejected = sides(pairs)
    assert not any(text.startswith("That is awful! Did you say 0") for text in rejected) and pairs
    assert Counter(" ".join(chosen).split()) == Counter(" ".join(rejected).split())

    def never(texts):
        own = [text.startswith(SORRY if int(text.split()[-3]) % 2 else GLAD) for text in texts]
        return np.where(own, 0.0, -5.0)

    rows = rows_of(12)
    assert exchanged(rows, fluency=never) == ([], Counter({"no partner": len(rows)}))


def test_nothing_to_exchange():
    assert exchange_reactions([], [judge], fluent, LIMITS) == ([], {}, exchange_reactions([], [judge], fluent)[2])
    happy = context_rows([talk(number, "happy", "That is great! And now?") for number in range(4)], 8, 1)
    assert exchanged(happy)[1]["no partner"] == 4
