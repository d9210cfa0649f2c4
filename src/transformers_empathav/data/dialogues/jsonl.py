"""Conversations of your own, as JSON lines."""

import json
import os
from pathlib import Path


def load_jsonl(path: str | os.PathLike) -> list[dict]:
    """
    Conversations of your own: one `{"id"?, "messages": [...]}` on each line. Without an id it is the name of the file
    and the number of the line.

    Raises:
        `ValueError`: names the line that is no conversation.
    """
    conversations = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            item = json.loads(line)
            messages = item["messages"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number} is no conversation ({error!r}): write {{"messages": [...]}} on each line.'
            ) from None
        conversations.append({"id": item.get("id", f"{Path(path).stem}-{number}"), "messages": messages})
    return conversations
