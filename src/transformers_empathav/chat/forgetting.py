"""Takes single messages out of a memory."""

from collections.abc import Collection
from dataclasses import replace

import torch

from ..modeling.conversation_memory_empathav import ConversationMemory


def without(memory: ConversationMemory, turns: Collection[int]) -> ConversationMemory:
    r"""
    The memory of one conversation without the vectors of some of its messages; later messages move up.

    The compressor's state stays: later messages are read from it, and it may still hold something of them.

    Args:
        memory ([`ConversationMemory`]): Of one conversation.
        turns (`Collection[int]`): Numbers of the messages, from 0.

    Raises:
        `ValueError`: If the vectors of a message also stand for others that shall stay.
    """
    size, (spans,) = memory.vectors_per_utterance, memory.spans()
    first = memory.turns[0, ::size].tolist()
    kept, numbers = [], []
    for group, (start, span) in enumerate(zip(first, spans.tolist())):
        merged = range(start, start + span)
        gone = [turn for turn in merged if turn in turns]
        if gone and len(gone) < span:
            raise ValueError(
                f"Message {gone[0]} shares its vectors with others, from {start} to {start + span - 1}, by the "
                "budget of the memory: forget all of them, or keep a transcript (keep_transcript=True)."
            )
        if not gone:
            kept += range(group * size, (group + 1) * size)
            numbers += [moved(start, turns)] * size
    chosen = torch.tensor(kept, dtype=torch.long, device=memory.vectors.device)
    return replace(
        memory,
        vectors=memory.vectors[:, chosen],
        turns=memory.turns.new_tensor([numbers]),
        roles=memory.roles[:, chosen],
        lengths=memory.lengths.new_tensor([len(kept)]),
    )


def moved(turn: int, forgotten: Collection[int]) -> int:
    """The number of a message once earlier ones are forgotten."""
    return turn - sum(other < turn for other in set(forgotten))
