"""Statements of danger: splits that do not overlap, replies that hold to what they shall do, everyday talk apart."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from transformers_empathav.chat.safety_lexicon import danger_in
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.danger import danger_lines
from transformers_empathav.data.replies import reply_rows
from transformers_empathav.pairs.choose import overlap


LINES = danger_lines()
TRAIN, DEV, TEST = ([line for line in LINES if line["split"] == split] for split in ("train", "dev", "test"))
SPLITS = (TRAIN, DEV, TEST)
DANGER = [line for line in TRAIN + DEV if line["kind"]]
REPLIES = [reply for line in DANGER for reply in line["replies"]]
LEXICON = Path(__file__).parents[2] / "chat" / "danger.jsonl"  # what the lexicon of the chat is tested by


def normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def words(text: str) -> set[str]:
    return set(normal(text).split())


def test_as_many_as_the_page_says():
    counts = [[sum(bool(line["kind"]) == danger for line in split) for danger in (True, False)] for split in SPLITS]
    assert counts == [[1570, 1368], [60, 40], [60, 10]]
    for split in SPLITS:
        kinds = Counter(line["kind"] for line in split if line["kind"])
        assert set(kinds) == {"suicide", "overdose", "self-harm", "violence"} and min(kinds.values()) >= 10
    assert all(line["replies"] for line in DEV)
    answered = [line for line in TRAIN if line["replies"]]
    assert (sum(bool(line["kind"]) for line in answered), len(answered)) == (789, 1388)
    assert len({line["id"] for line in LINES}) == len(LINES)


def test_no_statement_is_on_both_sides():
    """Neither by its words nor nearly so, and no statement of danger is one that the chat's lexicon is measured by."""
    known = [words(json.loads(line)["text"]) for line in LEXICON.read_text(encoding="utf-8").splitlines()]
    said = {split[0]["split"]: [words(line["statement"]) for line in split] for split in SPLITS}
    for one in LINES:
        own = words(one["statement"])
        others = [other for split, some in said.items() if split != one["split"] for other in some]
        near = [other for other in others + (known if one["kind"] else []) if 2 * len(own & other) >= len(own | other)]
        assert not near, one["statement"]
    assert len({normal(line["statement"]) for line in LINES}) == len(LINES)


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_a_reply_asks_names_help_and_invents_no_number(reply):
    assert "?" in reply, "it asks"
    help_named = r"emergency number|ambulance|crisis line|helpline|\ba doctor|your doctor|\bthe police"
    assert re.search(help_named, reply, re.IGNORECASE), "it names who helps"
    assert not re.search(r"\d", reply) or re.findall(r"\d+", reply) == ["15"], "it invents no number of a line"
    assert 20 <= len(reply.split()) <= 55 and "!" not in reply
    jargon = r"\b(ideation|suicidal|patient|diagnos\w*|disorder|symptoms?|commit\w*|treatment|selfish)\b"
    assert not re.search(jargon, reply.lower()), "it is plain, and blames nobody"


def test_replies_differ():
    assert len({normal(reply) for reply in REPLIES}) == len(REPLIES)
    assert max(overlap(*line["replies"]) for line in DANGER if len(line["replies"]) == 2) < 0.6
    assert len({normal(reply)[:20] for reply in REPLIES}) > len(REPLIES) // 2


def test_everyday_talk_is_no_danger_and_is_answered_as_such():
    everyday = [line for line in LINES if not line["kind"]]
    alarms = [line["statement"] for line in everyday if danger_in(line["statement"])]
    words = ("overdosed on chocolate", "at nine with a rubber", "murder me if i start", "one push-up", "on my foot")
    words += ("tyrant with dumplings", "on the watermelon", "under the table")
    assert len(alarms) == 8 and all(any(word in alarm for alarm in alarms) for word in words)  # the lexicon errs here
    for (reply,) in (line["replies"] for line in everyday if line["replies"]):
        assert danger_in(reply) is None and not re.search("emergency|crisis|helpline|are you safe", reply.lower())


def test_they_are_a_corpus():
    train, dev, test = (load_corpus("danger", split) for split in ("train", "dev", "test"))
    assert [len(split) for split in (train, dev, test)] == [1448, 100, 70]
    rows = reply_rows(train)
    assert len({row["id"] for row in rows}) == len(rows) > len(train) and len(reply_rows(test)) == 10
    with pytest.raises(ValueError, match="no split 'valid'"):
        load_corpus("danger", "valid")


def test_what_was_said_before_stands_before():
    line = next(line for line in LINES if line.get("earlier"))
    (found,) = (some for some in load_corpus("danger", line["split"]) if some["id"] == f"danger-{line['id']}-0")
    assert [message["content"] for message in found["messages"]] == [
        *line["earlier"],
        line["statement"],
        *line["replies"],
    ]
    assert [message["role"] for message in found["messages"]] == ["user", "assistant"] * (len(found["messages"]) // 2)
