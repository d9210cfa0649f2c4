"""Requests to write down what was said, which a model can only follow by reading its memory."""

import random

from .earlier_turns import words_alone


MOST_MESSAGES = 4
REQUESTS = (
    "Write down what was said, word for word.",
    "What have we said so far? Give me our words.",
    "Please repeat everything that came before this.",
    "Can you read our conversation back to me?",
    "I lost the thread. What were our words?",
    "Spell out what you remember of this talk.",
)


def word_for_word(conversations: list[dict], seed: int = 0) -> list[dict]:
    r"""
    Conversations of at most `MOST_MESSAGES` messages that end with a request to repeat them, and the repetition. All
    but the request is to be in the memory (`recent_turns` is 1), so that response tuning does not unlearn to read it.

    Args:
        conversations (`list[dict]`): Of [`load_corpus`]. Clips are not read.
        seed (`int`, *optional*, defaults to 0): Of the draws, which depend on seed and id alone.
    """
    asked = []
    for conversation in map(words_alone, conversations):
        draw = random.Random(f"{seed} {conversation['id']}")
        messages = conversation["messages"][: draw.randint(1, MOST_MESSAGES)]
        if not messages:
            continue
        repeated = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
        request = {"role": "user", "content": draw.choice(REQUESTS)}
        asked.append(
            {
                "id": f"repeat-{conversation['id']}",
                "messages": [*messages, request, {"role": "assistant", "content": repeated}],
                "fact_turn": 0,
                "recent_turns": 1,
            }
        )
    return asked
