"""Contexts of pairs: what a row knows, and what is drawn."""

from pairs import talk
from transformers_empathav.pairs.contexts import context_rows, draw_contexts


def test_contexts_know_their_dialogue_and_emotion():
    first, second = context_rows([talk(3, "angry")], max_turns=1, min_words=1)
    assert (first["dialogue"], second["dialogue"]) == ("talk-3", "talk-3")
    assert len(second["prompt"]) == 1 and second["context_emotion"] == "angry"  # though the prompt no longer holds it
    assert second["right"] == "Then we leave 3 alone for now"
    spoken = talk(4)
    spoken["messages"][0]["content"] = [{"type": "audio", "path": "a.wav"}]
    assert len(context_rows([spoken], 8, 1)) == 1  # what the writer could not read is no context


def test_the_pool_is_of_other_dialogues_where_there_are_enough():
    rows = context_rows([talk(number) for number in range(20)], 8, 1)
    drawn, pool = draw_contexts(rows, 5, seed=0)
    assert len(drawn) == 5 and not {row["dialogue"] for row in drawn} & {row["dialogue"] for row in pool}
    assert draw_contexts(rows, 5, seed=0) == (drawn, pool) != draw_contexts(rows, 5, seed=1)
    drawn, pool = draw_contexts(rows, None, seed=0)
    assert len(drawn) == len(pool) == 40
    assert [row["id"] for row in rows] == [f"talk-{number}-{turn}" for number in range(20) for turn in (1, 3)]
