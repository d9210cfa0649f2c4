"""Conversations of your own, as JSON lines."""

import json
import os
import zlib
from pathlib import Path

from transformers.utils import logging

from ...modeling.configuration_empathav import EMOTION_LABELS
from ..emotion_names import one_of_seven


logger = logging.get_logger(__name__)
SPLITS = ("train", "dev", "test")
DEV_SHARE = 10  # one in so many conversations is held out


def load_jsonl(path: str | os.PathLike) -> list[dict]:
    """
    Conversations of your own: one `{"id"?, "split"?, "messages": [...]}` on each line. Without an id it is the name of
    the file and the number of the line. A relative `path` of a clip counts from the folder of the file.

    Raises:
        `ValueError`: names the line that is no conversation.
    """
    path, conversations = Path(path), []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            item = json.loads(line)
            messages = [read_message(message, path.parent) for message in item["messages"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number} is no conversation ({error!r}): write {{"messages": [...]}} on each line.'
            ) from None
        split = {"split": item["split"]} if "split" in item else {}
        name = f"{path.stem}-{number}" if item.get("id") is None else str(item["id"])
        conversations.append({"id": name, **split, "messages": messages})
    return conversations


def read_message(message: dict, folder: Path) -> dict:
    """A message with its clips found from `folder` and its emotion by the name that it has here."""
    message = {"role": message["role"], **message}
    if not isinstance(message["content"], str):
        parts = [dict(part) for part in message["content"]]
        message["content"] = [
            {**part, "path": str(folder / part["path"])} if part.get("path") else part for part in parts
        ]
    if isinstance(message.get("emotion"), str):
        message["emotion"] = one_of_seven(message["emotion"])
    return message


def load_dialogue_lines(path: str | os.PathLike, split: str) -> list[dict]:
    """
    The conversations of JSON lines that are in a split, one of `SPLITS`.

    A line says its `split`. Where no line does, about one conversation in ten is `dev`, at least one of several. Which
    one depends on the ids alone, so it is the same for each recipe; a log line says how many.

    Raises:
        `ValueError`: a line is no conversation, has an unknown emotion or split, or none beside lines with one.
    """
    conversations = load_jsonl(path)
    for conversation in conversations:
        for message in conversation["messages"]:
            if message.get("emotion") not in (None, *EMOTION_LABELS):
                raise ValueError(
                    f"{path}, {conversation['id']} has the emotion {message['emotion']!r}, which is none of "
                    f"{', '.join(EMOTION_LABELS)}: name one of them, or leave it out."
                )
    if not any("split" in one for one in conversations):
        held_out = held_out_ids(conversations, path)
        conversations = [{**one, "split": "dev" if one["id"] in held_out else "train"} for one in conversations]
    elif strange := [one for one in conversations if one.get("split") not in SPLITS]:
        raise ValueError(
            f"{path}, {strange[0]['id']} has the split {strange[0].get('split')!r}: write {', '.join(SPLITS)} on each "
            "line, or no split on any."
        )
    return [{"id": one["id"], "messages": one["messages"]} for one in conversations if one["split"] == split]


def held_out_ids(conversations: list[dict], path: str | os.PathLike) -> set:
    """Ids of the conversations of a file without splits that are `dev`."""
    lots = {one["id"]: zlib.crc32(one["id"].encode()) for one in conversations}
    if len(lots) < 2:
        return set()
    held_out = {name for name, lot in lots.items() if lot % DEV_SHARE == 0} or {min(lots, key=lots.get)}
    logger.warning_once(
        f"{path} names no splits: {len(held_out)} of its {len(lots)} conversations are held out as dev, by their ids. "
        '"split": "train" or "dev" on each line says it otherwise.'
    )
    return held_out
