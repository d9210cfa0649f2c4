"""Facts in messages that were written by hand, and what is no fact."""

import pytest

from transformers_empathav.data.dialogues.told_facts import facts_in, to_you


@pytest.mark.parametrize(
    ("text", "kind", "value", "answer"),
    [
        ("My dog's name is Biscuit.", "name", "Biscuit", "Your dog is called Biscuit."),
        ("We went there with my sister Élodie", "name", "Élodie", "Your sister's name is Élodie."),
        ("my best friend was called Żaneta, you know", "name", "Żaneta", "Your best friend is called Żaneta."),
        ("I live in New York and work a lot.", "place", "New York", "You told me that you live in New York."),
        ("We moved to Leeds.", "place", "Leeds", "You moved to Leeds."),
        ("I have been married for over 12 years now", "number", "12 years", "You have been married for 12 years."),
        ("My son is 5 years old, and wild.", "number", "5 years old", "Your son is 5 years old."),
        ("It cost me 1,200 dollars!", "number", "1,200 dollars", "You mentioned 1,200 dollars."),
        (
            "I'm going to take my mother to us.",
            "plan",
            "take my mother to us",
            "Your plan is to take your mother to you.",
        ),
        ("I felt so embarrassed", "feeling", "embarrassed", "You said that you felt embarrassed."),
        ("My grandmother passed away last week", "relative", "grandmother", "Your grandmother passed away."),
        ("I am an electrical engineer.", "job", "electrical engineer", "You are an electrical engineer."),
        ("I'm a nurse", "job", "nurse", "You are a nurse."),
    ],
)
def test_what_is_found_and_how_it_is_answered(text, kind, value, answer):
    (fact,) = facts_in(text)
    assert (fact.kind, fact.value) == (kind, value) and answer in fact.answers
    assert all(question.endswith("?") for question in fact.questions) and len(fact.questions) > 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "My dog died.",
        "My dog Yesterday was not well",
        "Thank you my friend Can you help?",
        "I live in fear.",
        "I was 5-6 miles away",
        "I don't know what I am going to do about it.",
        "I'm going to be late for work again.",
        "I am afraid not.",
        "I was sad",  # below: of two feelings nobody could say which one is asked for
        "She is a nurse",
        "My dog Rex and my cat Tom",
        "\u202eMy dog\u0000 \U0001f600 is called \U0001f600",
        "my dog is called " + "a" * 10000,
    ],
)
def test_what_is_no_fact(text):
    found = facts_in(text + " and I was angry" if text == "I was sad" else text)
    assert found == []


def test_what_one_says_of_oneself_is_turned_round():
    assert to_you("visit my aunt, and I'm late") == "visit your aunt, and you're late"
    assert to_you("Mymy iota") == "Mymy iota"


def test_braces_are_words():
    """Values fill the texts in once, so that what a speaker wrote is never read as a field."""
    (fact,) = facts_in("My dog is called Rex{who}.")
    assert fact.value == "Rex" and "Your dog is called Rex." in fact.answers
