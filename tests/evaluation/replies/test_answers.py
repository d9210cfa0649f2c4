"""Answers: replies and perplexity see the same, and figures are of the systems that are named."""

import pytest

from helpers import assistant, user
from transformers_empathav.evaluation.replies.answers import Answers, answer, measure_answers
from transformers_empathav.evaluation.replies.gold_likelihood import gold_perplexity
from transformers_empathav.evaluation.replies.writing import Writing, write_replies
from transformers_empathav.measures.replies import Instruments


ROWS = [
    {
        "id": str(number),
        "conversation": f"talk{number // 2}",
        "prompt": [user("a"), assistant("b"), user("c"), assistant("d"), user(f"number {number}")],
        "completion": [assistant("I see.")],
    }
    for number in range(4)
]


@pytest.mark.parametrize(("history", "variant"), [("memory", "own"), ("none", "last_k"), ("full", "full")])
def test_perplexity_is_of_what_the_replies_are_written_from(system, cache, history, variant):
    writing = Writing(history, recent_turns=1, max_new_tokens=4)
    found = answer(system, ROWS, writing, cache, batch_size=2)
    assert found.replies == write_replies(system, [row["prompt"] for row in ROWS], writing, cache, 2)
    expected = gold_perplexity(system, ROWS, cache, variant, 1, 2)
    assert found.gold.statistics.tolist() == expected.statistics.tolist()


def test_figures_are_by_name_and_the_last_is_compared(system, cache):
    plain = answer(system, ROWS, Writing(max_new_tokens=4), cache, 4)
    silent = Answers(ROWS, [{"text": "", "cut": False}] * 4, plain.gold)
    found = measure_answers({"silent": silent, "plain": plain}, Instruments(()), "plain", part="inputs")
    assert (found["contexts"], found["conversations"]) == (4, 2)
    assert list(found["inputs"]) == ["silent", "plain"] and list(found["comparisons"]) == ["plain - silent"]
    assert found["inputs"]["silent"]["words"]["value"] == 0
    assert found["comparisons"]["plain - silent"]["all"]["perplexity"]["value"] == 0
