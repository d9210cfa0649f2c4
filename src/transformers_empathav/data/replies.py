"""Replies in their context, as TRL takes them: `{"id", "prompt", "completion", "emotion"}`."""

from copy import deepcopy


INSTRUCTION = "(Reply in one or two sentences, feeling [{emotion}].)"


def reply_rows(conversations: list[dict], max_turns: int | None = None, min_words: int = 1) -> list[dict]:
    r"""
    Every assistant message that answers a user, with what was said before it.

    Args:
        conversations (`list[dict]`): Of [`load_corpus`].
        max_turns (`int`, *optional*): Messages of the prompt at most, the newest ones; all of them by default.
        min_words (`int`, *optional*, defaults to 1): Shorter replies are left out.

    Returns:
        `list[dict]`: Rows with `id`, `prompt` (messages, the last one a user's), `completion` (one assistant message)
        and `emotion` (of the reply, `None` where nobody labelled it). A conversation of [`earlier_turns`] gives its
        last reply alone, with `fact_turn`, the index in the prompt of the message that it rests on; none where the
        prompt is cut behind that. `recent_turns` and `voiced` of a conversation are those of its rows.
    """
    rows = []
    for conversation in conversations:
        messages = [message for message in conversation["messages"] if not is_empty(message)]
        for index, message in enumerate(messages):
            if message["role"] != "assistant" or not index or messages[index - 1]["role"] != "user":
                continue
            if len(text_of(message).split()) < min_words:
                continue
            start = 0 if max_turns is None else max(index - max_turns, 0)
            fact = {name: conversation[name] for name in ("recent_turns", "voiced") if name in conversation}
            if "fact_turn" in conversation:
                if index < len(messages) - 1 or conversation["fact_turn"] < start:
                    continue
                fact |= {"fact_turn": conversation["fact_turn"] - start}
            rows.append(
                {
                    "id": f"{conversation['id']}-{index}",
                    **fact,
                    "prompt": messages[start:index],
                    "completion": [{"role": "assistant", "content": message["content"]}],
                    "emotion": message.get("emotion"),
                }
            )
    return rows


def bracketed(prompt: list[dict], emotion: str) -> list[dict]:
    """
    The prompt with the emotion that the reply shall have, in brackets at the end of the last user message.

    Raises:
        `ValueError`: the last message is not a user's.
    """
    if not prompt or prompt[-1]["role"] != "user":
        raise ValueError("A reply is written to a user: the prompt has to end with a message of role user.")
    asked, instruction = deepcopy(prompt), INSTRUCTION.format(emotion=emotion)
    content = asked[-1]["content"]
    if isinstance(content, str):
        asked[-1]["content"] = f"{content}\n{instruction}"
    else:
        asked[-1]["content"] = [*content, {"type": "text", "text": f"\n{instruction}"}]
    return asked


def text_of(message: dict) -> str:
    """The words of a message, without its clips."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text" and part.get("text"))


def is_empty(message: dict) -> bool:
    """Whether a message has neither words nor a clip, so that it is no turn."""
    return not text_of(message).strip() and (
        isinstance(message["content"], str) or all(part.get("type") == "text" for part in message["content"])
    )
