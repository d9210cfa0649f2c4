"""Checks rows of conversations and names them: nothing in them is passed over, and errors say which row it is."""

import math
from contextlib import contextmanager

from ..processing.messages_empathav import MESSAGE_KEYS, unread_keys


RECENT_TURNS = "recent_turns"  # how many newest messages of a row stay verbatim, where it says so itself
MEDIA_COLUMNS = ("audio", "audios", "video", "videos", "image", "images")


def check_columns(names, replies: tuple[str, ...], numbers: tuple[str, ...] = (), ignored: tuple[str, ...] = ()):
    """
    Makes sure that every column is read, and that those that are needed are there.

    Raises:
        `ValueError`: names the column and what to do.
    """
    needed = ("prompt", *replies, *numbers)
    if missing := [name for name in needed if name not in names]:
        raise ValueError(
            f"The column {', '.join(map(repr, missing))} is missing: there are {', '.join(names)}. Add it"
            + (", or leave out the option that reads it." if set(missing) <= set(numbers) else ".")
        )
    unread = [name for name in names if name not in (*needed, "id", RECENT_TURNS, *ignored)]
    if media := [name for name in unread if name in MEDIA_COLUMNS]:
        raise ValueError(
            f"The column {', '.join(map(repr, media))} would never reach the model: put each clip into the content of "
            'its message, {"type": "video", "path": ...}.'
        )
    if unread:
        raise ValueError(
            f"Nothing reads the column {', '.join(map(repr, unread))}: remove it, or name it under ignored_columns."
        )


def check_messages(messages: list[dict]):
    """
    Makes sure that every key of the messages is read.

    Raises:
        `ValueError`: names the key and what to do.
    """
    for message in messages:
        if unread := unread_keys(message, MESSAGE_KEYS):
            raise ValueError(
                f"A message has {unread}, which is not read there: clips are parts of its content, "
                '{"type": "video", "path": ...}.'
            )


@contextmanager
def naming(row: dict):
    """A context in which an error about a row becomes a `ValueError` that names the row."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        raise ValueError(f"Row {name_of(row)} cannot be used: {error}") from error


def number(row: dict, name: str) -> float:
    """The number in a column of a row; `ValueError` for anything else."""
    value = row.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"Row {name_of(row)} has {value!r} under {name!r}, where a finite number belongs.")
    return float(value)


def name_of(row) -> str:
    """What errors call a row: its id, or else how it, or its prompt, begins."""
    if isinstance(row, dict) and row.get("id") is not None:
        return str(row["id"])
    if isinstance(row, dict) and "prompt" in row:
        return f"with the prompt {str(row['prompt'])[:80]!r}"
    return f"that begins {str(row)[:80]!r}"
