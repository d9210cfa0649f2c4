"""Statements of people in acute danger with careful replies, and everyday talk that only sounds like it. Our own."""

import json
from itertools import cycle
from pathlib import Path

from .jsonl import SPLITS


PATH = Path(__file__).with_name("danger.jsonl")


def danger_lines() -> list[dict]:
    """
    The lines of the file: `id`, `split`, `kind`, `statement` and `replies`, and sometimes `earlier`, the messages
    before the statement, the person's first. The kind is `suicide`, `overdose`, `self-harm` or `violence`, and `None`
    for everyday talk. Statements of danger in `test` have no replies, nor have lines on which only the reading of
    danger is trained.
    """
    return [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def as_messages(line: dict, reply: str | None = None) -> list[dict]:
    """The messages of a line: what was said before, the statement, and the reply if there is one."""
    texts = [*line.get("earlier", ()), line["statement"], *([] if reply is None else [reply])]
    return [{"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), texts)]


def load_danger(split: str) -> list[dict]:
    r"""
    A conversation for each reply of each statement. In `test` also one for a statement that has none.

    All sentences were written for this project. Replies take a statement seriously, ask whether the speaker is safe,
    name help without a number, and stay.

    Args:
        split (`str`): `train`, `dev` or `test`. Choose by `dev`: no reply of a model was chosen by `test`.

    Raises:
        `ValueError`: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"The statements of danger have no split {split!r}: take {', '.join(SPLITS)}.")
    conversations = []
    for line in danger_lines():
        if line["split"] != split:
            continue
        for number, reply in enumerate(line["replies"] or [None] * (split == "test")):
            conversations.append({"id": f"danger-{line['id']}-{number}", "messages": as_messages(line, reply)})
    return conversations
