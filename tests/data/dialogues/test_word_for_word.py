"""Requests to repeat: the answer is what was said, and only the memory holds it."""

from transformers_empathav.data.dialogues.word_for_word import MOST_MESSAGES, REQUESTS, word_for_word
from transformers_empathav.data.replies import reply_rows


TALK = [
    {"role": "assistant", "content": "Hello."},
    *({"role": ("user", "assistant")[index % 2], "content": f"line {index}"} for index in range(8)),
]


def test_the_answer_is_what_was_said():
    conversations = [{"id": str(number), "messages": TALK} for number in range(30)]
    asked = word_for_word(conversations)
    assert asked == word_for_word(conversations) and len(asked) == 30
    lengths = set()
    for one in asked:
        *said, request, answer = one["messages"]
        lengths.add(len(said))
        assert said[0] == TALK[1] and request["content"] in REQUESTS
        assert answer["content"].splitlines() == [f"{message['role']}: {message['content']}" for message in said]
    assert lengths == set(range(1, MOST_MESSAGES + 1))


def test_it_gives_one_row_whose_words_are_all_in_the_memory():
    asked = word_for_word([{"id": str(number), "messages": TALK} for number in range(9)])
    rows = reply_rows(asked)
    assert len(rows) == 9 and all(row["recent_turns"] == 1 for row in rows)
    assert [row["prompt"][-1]["content"] for row in rows] == [one["messages"][-2]["content"] for one in asked]
    assert word_for_word([{"id": "a", "messages": [{"role": "assistant", "content": "Hi"}]}]) == []
