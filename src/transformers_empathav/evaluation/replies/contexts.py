"""The contexts that systems answer."""

import random
from collections.abc import Sequence

from ...data.dialogues.corpus import load_corpus
from ...data.replies import reply_rows


def corpus_rows(name: str, more_than: int = 0) -> list[dict]:
    r"""
    Replies of a corpus' dev split with their contexts.

    Args:
        name (`str`): As [`load_corpus`] takes it.
        more_than (`int`, *optional*, defaults to 0): Only replies after more than so many messages.

    Returns:
        `list[dict]`: Rows of [`reply_rows`] with a `conversation`, over which intervals are taken, and the
        `situation` of the speaker where the corpus names one.

    Raises:
        `ValueError`: there is no such reply.
    """
    rows = []
    for conversation in load_corpus(name, "dev"):
        for row in reply_rows([conversation]):
            if len(row["prompt"]) > more_than:
                shared = {"conversation": str(conversation["id"]), "situation": conversation.get("situation")}
                rows.append({**row, **shared})
    if not rows:
        raise ValueError(f"{name} (dev) has no reply after more than {more_than} messages.")
    return rows


def draw(rows: Sequence, count: int, seed: int) -> list:
    """Draws `count` rows and keeps their order. Gives all of them where there are fewer."""
    chosen = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[index] for index in sorted(chosen)]
