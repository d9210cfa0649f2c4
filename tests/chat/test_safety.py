"""Statements of danger: which count, what is shown, and that it is shown whatever becomes of the reply."""

import json
from pathlib import Path

import pytest

from helpers import writes
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.safety import (
    CAREFUL,
    HELP_LINES,
    HelpLine,
    Safety,
    SafetyLexicon,
)
from transformers_empathav.chat.safety_lexicon import danger_in
from transformers_empathav.chat.terminal import Screen


STATEMENTS = [
    json.loads(line) for line in Path(__file__).with_name("danger.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("half, found, alarms", [("built", 95, 0), ("held", 19, 1)])
def test_as_many_are_found_as_the_page_says(half, found, alarms):
    rows = [row for row in STATEMENTS if row["half"] == half]
    assert sum(danger_in(row["text"]) is not None for row in rows if row["kind"]) >= found
    assert sum(danger_in(row["text"]) is not None for row in rows if not row["kind"]) <= alarms


@pytest.mark.parametrize(
    "text, kind",
    [
        ("I want to kill myself.", "suicide"),
        ("i WANNA die", "suicide"),
        ("It’s late. I don’t want to live any\u200bmore.", "suicide"),
        ("I cannot stop thinking about suicide", "suicide"),
        ("This homework is killing me and I want to die.", "suicide"),
        ("I'm fine, but I cut myself again.", "self-harm"),
        ("He never hit me before, but today he choked me.", "violence"),
        ("I would never kill myself.", None),
        ("I was never suicidal.", None),
        ("No, I do not want to die.", None),
        ("My friend wants to kill herself.", None),
        ("When I was a kid I used to cut myself.", None),
        ("When I was a kid I used to cut myself, and now I do it again.", "self-harm"),
        ("This homework is killing me.", None),
        ("I cut myself while chopping onions.", None),
        ("Mom is going to kill me.", None),
        ("", None),
    ],
)
def test_what_counts(text, kind):
    assert danger_in(text) == kind


def test_lines_are_those_of_the_danger_and_of_the_country():
    everywhere, here = SafetyLexicon()("I want to die."), SafetyLexicon("de")("I want to die.")
    assert {line.country for line in here.lines} == {"", "DE"}
    assert set(here.lines) < set(everywhere.lines)
    assert all("suicide" in line.kinds for line in everywhere.lines)
    violence = SafetyLexicon("GB")("My husband beats me.")
    assert "National Domestic Abuse Helpline" in [line.name for line in violence.lines]
    with pytest.raises(ValueError, match="no help line of 'XX'"):
        SafetyLexicon("XX")


def test_every_country_has_somebody_for_every_danger():
    for country in {line.country for line in HELP_LINES if line.country}:
        for kind, text in {"suicide": "I want to die.", "violence": "He beats me."}.items():
            safety = SafetyLexicon(country)(text)
            assert safety.kind == kind and safety.lines
    assert all(line.source.startswith("https://") and line.contact for line in HELP_LINES)


def test_a_reply_carries_it_as_plain_data(responder):
    reply = Conversation(responder).say("I want to kill myself.", max_new_tokens=4)
    assert reply.response and reply.safety.kind == "suicide"
    shown = json.loads(json.dumps(reply.to_dict()))["safety"]
    assert shown["kind"] == "suicide" and shown["notice"] == reply.safety.notice
    assert {"country": "US", "name": "988 Suicide & Crisis Lifeline", "contact": "call or text 988"} in shown["lines"]
    assert Conversation(responder).say("Hello", max_new_tokens=4).to_dict()["safety"] is None


def test_it_is_known_where_a_reply_is_stopped_or_fails(responder, monkeypatch):
    conversation = Conversation(responder)
    stream = conversation.stream("I want to kill myself.", max_new_tokens=64)
    next(stream)
    stream.close()
    assert conversation.safety.kind == "suicide"
    conversation.say("Thank you.", max_new_tokens=4)
    conversation.say("Thank you.", max_new_tokens=4)
    assert conversation.safety is None
    monkeypatch.setattr(responder, "careful", ())
    monkeypatch.setattr(responder, "write", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conversation.say("I want to kill myself.")
    assert conversation.safety.kind == "suicide"


@pytest.mark.parametrize(
    "reply, sends",
    [
        ("Please call a crisis line now. Are you alone?", True),
        ("Ring an ambulance, and stay awake.", True),
        ("Have you told the police? Please call the police when it is safe.", True),
        ("Your emergency number is answered day and night.", True),
        ("The police officer next door sounds nice.", False),
        ("I hope the doctor found the reason.", False),
        ("That line of code is a crisis!", False),
    ],
)
def test_a_reply_that_sends_to_help_is_one(reply, sends):
    found = SafetyLexicon("GB").of_reply(reply)
    assert (found is not None) == sends
    if sends:
        assert found.kind == "danger" and found.lines == SafetyLexicon("GB").lines and "You may be" in found.notice


def test_help_stands_beside_a_reply_that_sends_to_it(responder, monkeypatch):
    """Also where it is stopped, and where the lexicon finds nothing; what the lexicon found goes first."""
    monkeypatch.setattr(responder, "write", writes("I am worried. Please call a crisis line."))
    conversation = Conversation(responder)
    assert conversation.say("I gave my cat away.").safety.kind == "danger"
    assert conversation.say("I want to kill myself.").safety.kind == "suicide"
    conversation = Conversation(responder)
    stream = conversation.stream("I gave my dog away.")
    next(stream)
    stream.close()
    assert conversation.safety.kind == "danger"
    monkeypatch.setattr(responder, "write", writes("How nice."))
    assert Conversation(responder).say("I gave my cat a bath.").safety is None


@pytest.mark.parametrize("careful, kept", [(True, CAREFUL), (False, ()), (("Stay.",), ("Stay.",))])
def test_what_is_answered_can_be_chosen(responder, careful, kept):
    assert Responder(responder.model.name_or_path, device="cpu", careful=careful).careful == kept


def test_any_callable_takes_its_place(responder, monkeypatch):
    line = HelpLine("XX", "Somebody <b>", "12345", "https://example.org", ("loneliness",))
    monkeypatch.setattr(responder, "safety", lambda text: Safety("loneliness", (line,)) if "alone" in text else None)
    conversation = Conversation(responder)
    assert conversation.say("I want to die.", max_new_tokens=4).safety is None
    monkeypatch.setattr(responder, "write", writes("Please call a crisis line."))
    assert conversation.say("Hello.").safety is None  # it looks at no replies
    reply = conversation.say("I am alone.", max_new_tokens=4)
    assert reply.safety.to_dict()["lines"] == [{"country": "XX", "name": "Somebody <b>", "contact": "12345"}]
    assert reply.safety.notice


def test_the_terminal_shows_it(responder, capsys):
    Screen().reply(Conversation(responder).say("My husband beats me.", max_new_tokens=4))
    shown = capsys.readouterr().out
    assert "somebody hurts" in shown and "1-800-799-7233" in shown
