"""Kinds of pairs over the same contexts: where their sides come from, and what a dataset makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import load_from_disk

from pairs import talk
from transformers_empathav.data.replies import text_of
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.choose import Limits, TextScores
from transformers_empathav.pairs.contexts import context_rows
from transformers_empathav.pairs.dataset import pair_dataset, pair_features, save_pairs
from transformers_empathav.pairs.human_replies import OPPOSITE
from transformers_empathav.pairs.kinds import DRAWN, JOINED, KINDS, WRITTEN, make_pairs, texts_to_score
from transformers_empathav.pairs.style_leak import pair_measures


WIDE = Limits(contextual_floor=-1.0)


def hashed(width):
    """Some scores for each text, all different, the same each time; a text that names an emotion has that one."""

    def score(texts):
        rows = []
        for text in texts:
            draw = np.random.default_rng(sum(text.encode()))
            row = draw.dirichlet(np.ones(width))
            named = [index for index, emotion in enumerate(EMOTION_LABELS) if f"<{emotion[:3]}>" in text]
            if named and width == 7:
                row = 0.3 * row + 0.7 * np.eye(7)[named[0]]
            rows.append(row)
        return np.stack(rows)

    return score


@pytest.fixture
def material():
    """Contexts, a pool of other dialogues, and what a writer wrote under every emotion."""
    emotions = [emotion for emotion in EMOTION_LABELS if emotion != "neutral"]
    rows = context_rows([talk(number, emotions[number % 6]) for number in range(12)], 8, 1)
    pool = context_rows([talk(number, emotions[number % 6]) for number in range(100, 130)], 8, 1)
    replies = {
        row["id"]: [
            {"emotion": emotion, "text": f"<{emotion[:3]}> {emotion}1 {emotion}2 {row['id']}", "finish_reason": "stop"}
            for emotion in EMOTION_LABELS
        ]
        for row in rows
    }
    return rows, pool, replies, TextScores(texts_to_score(rows, pool, replies), hashed(7), hashed(5))


def test_counter_emotional_is_never_of_the_right_emotion(material):
    rows, _, replies, scores = material
    pairs, counts = make_pairs("counter_emotional", rows, scores, replies, limits=WIDE)
    assert len(pairs) == len(rows) and counts["chosen"] == len(rows)
    for row, pair in zip(rows, pairs):
        assert pair["chosen"] == row["completion"] and pair["prompt"] == row["prompt"]
        assert pair["emotion"] == scores.emotion(row["right"]) != pair["rejected_emotion"]
        assert pair["emotion_by"] == "scorer" and len(pair["candidates"]) == 6
        farthest = max(pair["candidates"], key=lambda found: found["emotional_distance"])
        assert pair["rejected"][0]["content"] == farthest["text"]
        assert pair["emotional_distance"] == scores.distance(row["right"], farthest["text"])
    labelled = context_rows([talk(0, answer="happy")], 8, 1)
    scores = TextScores(
        [row["right"] for row in labelled] + [text_of(row["prompt"][-1]) for row in labelled]
        + [reply["text"] for reply in replies["talk-0-1"]], hashed(7), hashed(5),
    )  # fmt: skip
    pairs, _ = make_pairs("counter_emotional", labelled[:1], scores, replies, limits=WIDE)
    assert (pairs[0]["emotion"], pairs[0]["emotion_by"]) == ("happy", "human")
    assert "happy" not in {found["emotion"] for found in pairs[0]["candidates"]}


def test_the_same_writer_wrote_both_sides(material):
    rows, _, replies, scores = material
    pairs, _ = make_pairs("same_writer", rows, scores, replies, limits=WIDE)
    assert pairs
    for pair in pairs:
        written = {reply["emotion"]: reply["text"] for reply in replies[pair["id"]]}
        assert pair["chosen"][0]["content"] == written[pair["emotion"]]
        assert pair["rejected"][0]["content"] == written[pair["rejected_emotion"]]
        assert pair["emotional_distance"] == scores.distance(
            written[pair["emotion"]], written[pair["rejected_emotion"]]
        )
    first = rows[0]
    own = next(r for r in replies[first["id"]] if r["emotion"] == scores.emotion(first["right"]))
    own["finish_reason"] = "length"
    pairs, counts = make_pairs("same_writer", rows, scores, replies, limits=WIDE)
    assert first["id"] not in {pair["id"] for pair in pairs}
    assert counts["as right reply: truncated"] == counts["row without a pair"] == 1


def test_the_written_reply_nearest_to_the_human_one_stands_for_it(material):
    rows, _, replies, scores = material
    pairs, _ = make_pairs("nearest_written", rows, scores, replies, limits=WIDE)
    assert len(pairs) == len(rows)
    for pair, row in zip(pairs, rows):
        texts = [reply["text"] for reply in replies[row["id"]]]
        chosen, rejected = pair["chosen"][0]["content"], pair["rejected"][0]["content"]
        assert chosen == min(texts, key=lambda text: scores.distance(row["right"], text))
        assert rejected == max(texts, key=lambda text: scores.distance(chosen, text))
    nearest = next(reply for reply in replies[rows[0]["id"]] if reply["text"] == pairs[0]["chosen"][0]["content"])
    nearest["finish_reason"] = "length"
    again, _ = make_pairs("nearest_written", rows, scores, replies, limits=WIDE)
    assert again[0]["chosen"] != pairs[0]["chosen"] and again[1:] == pairs[1:]
    for reply in replies[rows[0]["id"]]:
        reply["finish_reason"] = "length"
    _, counts = make_pairs("nearest_written", rows, scores, replies, limits=WIDE)
    assert counts["as right reply: truncated"] == counts["row without a pair"] == 1


@pytest.mark.parametrize("kind", ["human_other", "random", "opposite"])
def test_other_peoples_replies_are_of_other_dialogues(material, kind):
    rows, pool, _, scores = material
    pairs, counts = make_pairs(kind, rows, scores, pool=rows + pool, limits=WIDE)
    again, _ = make_pairs(kind, rows[::-1], scores, pool=rows + pool, limits=WIDE)
    assert pairs == again[::-1]  # a row's draw does not hang on the others
    assert pairs != make_pairs(kind, rows, scores, pool=rows + pool, limits=WIDE, seed=1)[0] or kind == "human_other"
    others = {}
    for row in rows + pool:
        others.setdefault(row["right"], row)
    for pair in pairs:
        other = others[pair["rejected"][0]["content"]]
        assert other["dialogue"] != pair["dialogue"]
        assert pair["rejected_emotion"] == scores.emotion(other["right"])
        if kind == "human_other":
            assert pair["rejected_emotion"] != pair["emotion"]
        if kind == "opposite":
            context = next(row["context_emotion"] for row in rows if row["id"] == pair["id"])
            assert other["context_emotion"] == OPPOSITE[context]
    assert len(pairs) + counts["row without a pair"] == len(rows) and len(pairs) > 10


def test_how_near_in_context_other_peoples_replies_are_is_a_choice(material):
    rows, pool, _, scores = material
    near, any_one = (
        make_pairs("human_other", rows, scores, pool=pool, limits=replace(WIDE, nearest_of=count))[0]
        for count in (len(pool), 1)
    )
    for pair, other in zip(near, any_one, strict=True):
        right, drawn = pair["chosen"][0]["content"], {one["emotion"]: one["text"] for one in other["candidates"]}
        for one in pair["candidates"]:
            nearest, any_text, own = (
                scores.embeddings[scores.index[text]] for text in (one["text"], drawn[one["emotion"]], right)
            )
            assert nearest @ own >= any_text @ own
    assert near != any_one


def test_replies_change_places_as_far_apart_as_can_be(material):
    *_, scores = material
    rows = context_rows([talk(number, "sad" if number % 2 else "happy") for number in range(12)], 8, 1)
    loose = replace(WIDE, shortest=0.01, longest=100.0, most_overlap=2.0)
    pairs, _ = make_pairs("exchanged", rows, scores, limits=loose)
    right, rejected = ([pair[side][0]["content"] for pair in pairs] for side in ("chosen", "rejected"))
    assert sorted(right) == sorted(rejected) == sorted(row["right"] for row in rows)
    felt = {row["right"]: row["context_emotion"] for row in rows}
    assert all({felt[one], felt[other]} == {"sad", "happy"} for one, other in zip(right, rejected))
    found = sum(pair["emotional_distance"] for pair in pairs)
    for step in range(2, len(rows), 4):  # a dialogue has two rows, and each second one is sad
        assert found >= sum(scores.distance(one, other) for one, other in zip(right, right[step:] + right[:step]))


def test_where_limits_allow_no_exchange_there_is_no_pair(material):
    rows, _, _, scores = material
    pairs, counts = make_pairs("exchanged", rows, scores, limits=replace(WIDE, contextual_floor=1.1))
    assert pairs == [] and counts["row without a pair"] == len(rows)
    alike = [{**row, "context_emotion": "sad"} for row in rows]
    assert make_pairs("exchanged", alike, scores, limits=WIDE)[0] == []
    assert make_pairs("exchanged", alike, scores, limits=replace(WIDE, opposite=False, most_overlap=2.0))[0] != []


def test_a_context_without_an_opposite_has_no_pair(material):
    _, pool, _, scores = material
    neutral = [{**row, "context_emotion": "neutral"} for row in pool[:2]]
    assert make_pairs("opposite", neutral, scores, pool=pool) == ([], {"row without a pair": 2})


def test_of_drawn_replies_one_feels_with_the_speaker_and_one_the_other_way(material):
    rows, _, _, _ = material
    sad = next(row for row in rows if row["context_emotion"] == "sad")
    happy = next(row for row in rows if row["context_emotion"] == "happy")
    texts = ("one <sad> reply", "one <hap> reply", "one <neu> reply")
    drawn = [{"emotion": None, "text": text, "finish_reason": "stop"} for text in texts]
    scores = TextScores([*texts, sad["right"], happy["right"]], hashed(7), hashed(16))
    replies = {row["id"]: drawn for row in (sad, happy)}
    pairs, _ = make_pairs("own_reaction", [sad, happy], scores, replies, limits=WIDE)
    sides = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs]
    assert sides == [texts[:2], texts[1::-1]] and [pair["rejected_emotion"] for pair in pairs] == ["happy", "sad"]
    one_sided = {row["id"]: drawn[1:] for row in (sad, happy)}
    assert not make_pairs("own_reaction", [sad, happy], scores, one_sided, limits=WIDE)[0]
    cut = {row["id"]: [{**reply, "finish_reason": "length"} for reply in drawn] for row in (sad, happy)}
    assert not make_pairs("own_reaction", [sad, happy], scores, cut, limits=WIDE)[0]
    neutral = {**sad, "prompt": [{"role": "user", "content": "Hello."}]}
    assert not make_pairs("own_reaction", [neutral], scores, replies, limits=WIDE)[0]


def same_newest(rows, pool):
    """Rows of other dialogues that end with the messages of `rows`, the words of the newest in capitals."""
    newest = [{"role": "user", "content": f" {text_of(row['prompt'][-1]).upper()}"} for row in rows]
    return [{**other, "prompt": [*other["prompt"][:-1], message]} for message, other in zip(newest, pool)]


def test_another_history_with_the_same_end_gives_the_other_reply(material):
    rows, pool, _, scores = material
    assert make_pairs("other_history", rows, scores, pool=pool) == ([], {"row without a pair": len(rows)})
    same = same_newest(rows, pool)
    pairs, _ = make_pairs("other_history", rows[:5], scores, pool=rows + pool + same)
    expected = [other["right"] for other in same[:5]]
    assert [pair["rejected"][0]["content"] for pair in pairs] == expected
    assert all(pair["chosen"][0]["content"] == row["right"] for pair, row in zip(pairs, rows))


def test_every_kind_has_the_same_columns(material, tmp_path):
    rows, pool, replies, scores = material
    joined = {row["id"]: replies[row["id"]][:1] for row in rows}
    pool = pool + same_newest(rows, pool)
    for kind in KINDS:
        pairs, counts = make_pairs(kind, rows, scores, joined if kind in JOINED else replies, pool, WIDE)
        facts = {"corpora": ["talks"], "split": "train", "writer": "someone"}
        for _ in range(2):  # what was there is replaced
            save_pairs(pairs, tmp_path / kind, kind, facts, counts, pair_measures(pairs))
        loaded = load_from_disk(tmp_path / kind)
        assert loaded.features == pair_features(with_clips=False)
        assert loaded[0]["chosen"] == pairs[0]["chosen"] and loaded[0]["rejected"] == pairs[0]["rejected"]
        assert [m["content"] for m in loaded[0]["prompt"]] == [m["content"] for m in pairs[0]["prompt"]]
        assert loaded["candidates"][0] == pairs[0]["candidates"]
        card = (tmp_path / kind / "README.md").read_text()
        assert f"Preference pairs: {kind}" in card and ("synthetic" in card) == (kind in WRITTEN + JOINED + DRAWN)
    assert not list(tmp_path.glob(".partial-*"))


def test_clips_are_kept_by_their_names(material):
    rows, pool, _, scores = material
    pairs, _ = make_pairs("random", rows, scores, pool=pool)
    prompt = pairs[0]["prompt"]
    spoken = [{"type": "video", "path": "a.mp4"}, {"type": "text", "text": "See?"}]
    pairs[0]["prompt"] = [{**prompt[0], "content": spoken}, *prompt[1:]]
    found = pair_dataset(pairs)
    kept = [{name: value for name, value in part.items() if value} for part in found[0]["prompt"][0]["content"]]
    assert kept == spoken
    assert text_of(found[1]["prompt"][0]) == pairs[1]["prompt"][0]["content"]
    pairs[0]["prompt"][0]["content"][0] = {"type": "audio", "audio": np.zeros(3)}
    with pytest.raises(ValueError, match="path or url"):
        pair_dataset(pairs)
