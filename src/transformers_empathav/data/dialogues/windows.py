"""Windows of a few consecutive messages, for training the compressor."""

import random


def windows(conversations: list[dict], size: int, seed: int = 0, vary: bool = False) -> list[list[dict]]:
    """Consecutive, disjoint windows of `size` non-empty messages or the rest, shuffled; `vary` draws 1 to `size`."""
    cut, random_ = [], random.Random(seed)
    for conversation in conversations:
        messages = [message for message in conversation["messages"] if message["content"].strip()]
        start = 0
        while start < len(messages):
            end = start + (random_.randint(1, size) if vary else size)
            cut.append(messages[start:end])
            start = end
    random_.shuffle(cut)
    return cut
