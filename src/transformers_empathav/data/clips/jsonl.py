"""Labelled clips of your own, as JSON lines of conversations."""

import os
from collections.abc import Mapping
from pathlib import Path

from ..dialogues.jsonl import load_jsonl
from .item import checked_emotion, some_clips


def load_clip_lines(path: str | os.PathLike, label_map: Mapping[str, str | None] | None = None) -> list[dict]:
    """
    JSON lines of conversations whose last message, a user's, has an `emotion` and a clip. Only that message is kept. A
    relative `path` of a clip counts from the folder of the file.

    Raises:
        `ValueError`: names the conversation without a label or a clip.
    """
    path, items = Path(path), []
    for conversation in load_jsonl(path):
        where = f"{path}, {conversation['id']}"
        message = conversation["messages"][-1]
        parts = message["content"] if isinstance(message["content"], list) else []
        if message["role"] != "user" or not any(part.get("type") in ("audio", "video") for part in parts):
            raise ValueError(f"{where} does not end in a user's message with a clip: give it one, or leave it out.")
        emotion = checked_emotion(message.get("emotion"), where, label_map)
        if emotion is not None:
            items.append({"id": conversation["id"], "messages": [{**message, "emotion": emotion}]})
    return some_clips(items, path, "in it")
