"""Windows of a few consecutive messages, for training the compressor."""

import random

from ..replies import text_of


def windows(conversations: list[dict], size: int, seed: int = 0, vary: bool = False) -> list[list[dict]]:
    r"""
    Cuts conversations into disjoint windows of consecutive messages, and shuffles them. Of a message with clips the
    words stay; messages without words are left out.

    Args:
        conversations (`list[dict]`): Of [`load_corpus`].
        size (`int`): Messages of a window; the last one of a conversation may have fewer.
        seed (`int`, *optional*, defaults to 0): Of order and sizes.
        vary (`bool`, *optional*, defaults to `False`): Whether each window has a random size from 1 to `size`.
    """
    cut, random_ = [], random.Random(seed)
    for conversation in conversations:
        messages = [{**message, "content": text_of(message)} for message in conversation["messages"]]
        messages = [message for message in messages if message["content"].strip()]
        start = 0
        while start < len(messages):
            end = start + (random_.randint(1, size) if vary else size)
            cut.append(messages[start:end])
            start = end
    random_.shuffle(cut)
    return cut
