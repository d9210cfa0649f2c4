"""The contexts that pairs are made for, out of conversations."""

import random

from ..data.replies import reply_rows, text_of


def context_rows(conversations: list[dict], max_turns: int | None, min_words: int) -> list[dict]:
    r"""
    Rows of [`reply_rows`] with the columns that pairs need.

    Args:
        conversations (`list[dict]`): As the loaders of `data/dialogues/` give them.
        max_turns (`int`, *optional*): Messages of a prompt at most, the newest ones.
        min_words (`int`): Right replies with fewer words are left out.

    Returns:
        `list[dict]`: Rows with `dialogue`, `right` (the words of the reply) and `context_emotion` too: the emotion of
        the user's newest message that has a label, also where the prompt is cut before it. Rows whose reply or last
        message has no words are left out.
    """
    cut = reply_rows(conversations, max_turns, min_words)
    whole = reply_rows(conversations, None, min_words)
    rows = []
    for row, full in zip(cut, whole):
        labelled = [
            message["emotion"] for message in full["prompt"] if message["role"] == "user" and message.get("emotion")
        ]
        rows.append(
            {
                **row,
                "dialogue": row["id"].rpartition("-")[0],
                "right": text_of(row["completion"][0]).strip(),
                "context_emotion": labelled[-1] if labelled else None,
            }
        )
    return [row for row in rows if row["right"] and text_of(row["prompt"][-1]).strip()]


def draw_contexts(rows: list[dict], limit: int | None, seed: int) -> tuple[list[dict], list[dict]]:
    r"""
    Draws contexts, and a pool of rows whose human replies may be rejected ones.

    Args:
        rows (`list[dict]`): Of [`context_rows`].
        limit (`int`, *optional*): Contexts to draw; all by default.
        seed (`int`): Of the draw.

    Returns:
        `tuple[list[dict], list[dict]]`: The contexts, and the pool: rows of other dialogues, or all rows where those
        are fewer than the contexts.
    """
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    drawn = rows[:limit]
    dialogues = {row["dialogue"] for row in drawn}
    others = [row for row in rows if row["dialogue"] not in dialogues]
    pool = others if len(others) >= len(drawn) else rows
    return drawn, pool[: max(2000, 10 * len(drawn))]
