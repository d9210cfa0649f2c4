"""Tokenizes older turns for the compressor."""

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
    Tokenizes older turns, each followed by its read-out tokens.

    Args:
        conversations (`list[list[Turn]]`): The older turns of each row, oldest first.
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the language model.
        escape (`Callable`): Escapes control tokens in a text.
        readouts (`list[int]`): Ids of the read-out tokens of a turn.

    Returns:
        `dict`: `history_input_ids` and `history_attention_mask`, right-padded, `(batch, tokens)`.

    Raises:
        `ValueError`: If a turn has a clip, but neither text nor emotion.
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
    """The text of a turn, `role speaker (emotion): text`, as the compressor reads it."""
    if turn.clips and turn.emotion is None:
        if not turn.text.strip():
            raise ValueError(
                f"{turn.name} has become history, which is read as text, and has only a clip: add what was said as a "
                "text part, or its 'emotion', or keep it verbatim by a higher recent_turns."
            )
        logger.warning_once(
            "Clips in messages that have become history are dropped and only their text is kept: add the message's "
            "'emotion' (model.predict_emotion gives it) to keep what voice and face expressed."
        )
    who = " ".join(filter(None, [turn.role, turn.speaker]))
    return f"{who} ({turn.emotion}): {turn.text}" if turn.emotion else f"{who}: {turn.text}"
