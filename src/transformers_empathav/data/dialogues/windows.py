"""Windows of a few consecutive messages, for training the compressor."""

import random

from ..replies import text_of


def windows(
    conversations: list[dict], size: int, seed: int = 0, vary: bool = False, joined: float = 0.0
) -> list[list[dict]]:
    r"""
    Cuts conversations into disjoint windows of consecutive messages, and shuffles them. Of a message with clips the
    words stay; messages without words are left out.

    Args:
        conversations (`list[dict]`): Of [`load_corpus`].
        size (`int`): Messages of a window; the last one of a conversation may have fewer.
        seed (`int`, *optional*, defaults to 0): Of order and sizes.
        vary (`bool`, *optional*, defaults to `False`): Whether each window has a random size from 1 to `size`.
        joined (`float`, *optional*, defaults to 0.0):
            Share of the messages whose words are added to the message before, so that there are long ones too.
    """
    cut, random_ = [], random.Random(seed)
    for conversation in conversations:
        messages = [{**message, "content": text_of(message)} for message in conversation["messages"]]
        messages = join([message for message in messages if message["content"].strip()], joined, random_)
        start = 0
        while start < len(messages):
            end = start + (random_.randint(1, size) if vary else size)
            cut.append(messages[start:end])
            start = end
    random_.shuffle(cut)
    return cut


def join(messages: list[dict], share: float, random_: random.Random) -> list[dict]:
    """The messages, a share of them as a part of the one before."""
    kept = []
    for message in messages:
        if kept and share and random_.random() < share:
            kept[-1] = {**kept[-1], "content": f"{kept[-1]['content']} {message['content']}"}
        else:
            kept.append(message)
    return kept
