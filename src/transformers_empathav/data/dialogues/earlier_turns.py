r"""
Questions about earlier turns: the last user message asks for a fact that was told some turns before, and the last
assistant message answers with it.

Facts are found in the dialogues ([`facts_in`]) or planted into them ([`plant`]). Planted ones are invented, and
dialogues that have one are synthetic.
"""

import random
import zlib

from .planted_facts import plant
from .told_facts import EMOTION_OF, Fact, facts_in


LEAST_APART = 3  # messages from the fact to the question, at least
MOST_MESSAGES = 20  # of a conversation with its question and answer
PLANTED = 5  # one dialogue in so many of those without a fact of their own gets one
MOST_DIALOGUES = 3  # that a conversation with a planted fact is joined of


def earlier_turns(conversations: list[dict], split: str, seed: int = 0) -> list[dict]:
    r"""
    Conversations that end with a question about an earlier turn, and its answer.

    At most one is made of a dialogue. Values that are found in the text are of one split alone, by their digest, as
    planted ones are by their lists. So neither dialogues nor answers of `dev` are trained on.

    Args:
        conversations (`list[dict]`): Of one split, user and assistant in turn. Clips are not read.
        split (`str`): `train` or `dev`, the split of the conversations.
        seed (`int`, *optional*, defaults to 0): Of the draws, which depend on seed and id alone.

    Returns:
        `list[dict]`: Conversations with `fact_turn` (index of the message that tells the fact), `fact_kind`,
        `fact_value` and `planted`.
    """
    spoken = [one for one in map(words_alone, conversations) if len(one["messages"]) > LEAST_APART]
    asked, without = [], []
    for one in spoken:
        draw = random.Random(f"{seed} {one['id']}")
        found = told(one["messages"], split)
        if found:
            turn, fact = draw.choice(rarest(found))
            asked.append(with_question(one["id"], one["messages"], turn, fact, draw, planted=False))
        else:
            without.append(one)
    for number, one in enumerate(without):
        draw = random.Random(f"{seed} {one['id']}")
        if zlib.crc32(one["id"].encode()) % PLANTED:
            continue
        others = [without[(number + step) % len(without)] for step in range(1, draw.randint(1, MOST_DIALOGUES))]
        asked += planted_into([one, *others], split, draw)
    return asked


def words_alone(conversation: dict) -> dict:
    """The conversation in words, from its first user message to its last assistant message; roles take turns."""
    messages = []
    for message in conversation["messages"]:
        content = message["content"]
        if not isinstance(content, str) or not content.strip() or message["role"] not in ("user", "assistant"):
            continue
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']} {content.strip()}"}
        elif messages or message["role"] == "user":
            messages.append({**message, "content": content.strip()})
    if messages and messages[-1]["role"] == "user":
        messages.pop()
    return {"id": conversation["id"], "messages": messages}


def told(messages: list[dict], split: str) -> list[tuple[int, Fact]]:
    """Facts of user messages that are far enough from the end, of a kind that no other message tells too."""
    found = [
        (turn, fact)
        for turn, message in enumerate(messages)
        if message["role"] == "user"
        for fact in facts_in(message["content"])
    ]
    kinds = [fact.kind for _, fact in found]
    return [
        (turn, fact)
        for turn, fact in found
        if len(messages) - turn >= LEAST_APART
        and kinds.count(fact.kind) == 1
        and (zlib.crc32(fact.value.lower().encode()) % 4 == 0) == (split != "train")
        and (fact.kind != "feeling" or EMOTION_OF[fact.value] == messages[turn].get("emotion"))
    ]


def rarest(found: list[tuple[int, Fact]]) -> list[tuple[int, Fact]]:
    """Without those of feelings, which many tell, where there are others."""
    return [item for item in found if item[1].kind != "feeling"] or found


def with_question(name: str, messages: list[dict], turn: int, fact: Fact, draw: random.Random, planted: bool) -> dict:
    """The conversation with question and answer at its end, cut to `MOST_MESSAGES` around the fact."""
    start = max(turn - 2, 0) if len(messages) + 2 > MOST_MESSAGES else 0
    end = min(start + MOST_MESSAGES - 2, len(messages))
    question = {"role": "user", "content": draw.choice(fact.questions)}
    answer = {"role": "assistant", "content": draw.choice(fact.answers)}
    return {
        "id": f"earlier-{name}",
        "messages": [*messages[start:end], question, answer],
        "fact_turn": turn - start,
        "fact_kind": fact.kind,
        "fact_value": fact.value,
        "planted": planted,
    }


def planted_into(several: list[dict], split: str, draw: random.Random) -> list[dict]:
    """The first dialogue with a fact planted after one of its replies or before them all, then the others."""
    messages = [message for one in several for message in one["messages"]]
    found = plant(draw, split, " ".join(message["content"] for message in messages))
    if found is None:
        return []
    statement, noted, fact = found
    first = len(several[0]["messages"])
    turn = draw.choice(range(0, max(min(first, len(messages) - LEAST_APART + 2), 1), 2))
    told_here = [{"role": "user", "content": statement}, {"role": "assistant", "content": noted}]
    messages = messages[:turn] + told_here + messages[turn:]
    name = f"planted-{several[0]['id']}"
    return [with_question(name, messages, turn, fact, draw, planted=True)]
