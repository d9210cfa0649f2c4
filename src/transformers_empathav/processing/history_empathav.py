"""Older turns as the compressor reads them."""

from collections.abc import Callable

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from .messages_empathav import Turn


logger = logging.get_logger(__name__)


def encode_turns(
    conversations: list[list[Turn]], tokenizer: PreTrainedTokenizerBase, escape: Callable, readouts: list[int]
) -> dict[str, np.ndarray]:
    r"""
    Tokens of older turns.

    Args:
        conversations (`list[list[Turn]]`): The older turns of each row, oldest first.
        tokenizer (`PreTrainedTokenizerBase`): The language model's.
        escape (`Callable`): Keeps text from being read as control tokens.
        readouts (`list[int]`): Ids that follow each turn, where the compressor leaves its vectors.

    Returns:
        `dict`: `history_input_ids` and `history_attention_mask`, right-padded, `(batch, tokens)`.
    """
    rows = []
    for turns in conversations:
        texts = [escape(utterance(turn)) for turn in turns]
        encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        rows.append([token for ids in encoded for token in ids + readouts])
    ids, mask = np.zeros((2, len(rows), max(map(len, rows), default=0)), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return {"history_input_ids": ids, "history_attention_mask": mask}


def utterance(turn: Turn) -> str:
    """Who said what, in which emotion."""
    if turn.clips and turn.emotion is None:
        if not turn.text.strip():
            raise ValueError(
                f"{turn.name} has become history, which is read as text, and has only a clip: add what was said as a "
                "text part, or its 'emotion', or keep it verbatim by a higher recent_turns."
            )
        logger.warning_once(
            "Clips of messages that have become history are remembered by their text alone: add the message's "
            "'emotion' (model.predict_emotion gives it) to keep what voice and face said."
        )
    who = " ".join(filter(None, [turn.role, turn.speaker]))
    return f"{who} ({turn.emotion}): {turn.text}" if turn.emotion else f"{who}: {turn.text}"
