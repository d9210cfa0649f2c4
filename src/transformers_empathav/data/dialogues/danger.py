"""Statements of people in acute danger with careful replies, and everyday talk that only sounds like it. Our own."""

import json
from pathlib import Path

from .jsonl import SPLITS


PATH = Path(__file__).with_name("danger.jsonl")


def danger_lines() -> list[dict]:
    """
    The lines of the file: `id`, `split`, `kind`, `statement` and `replies`. The kind is `suicide`, `overdose`,
    `self-harm` or `violence`, and `None` for everyday talk. Statements of danger in `test` have no replies.
    """
    return [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def load_danger(split: str) -> list[dict]:
    r"""
    A conversation for each reply of each statement, and one without a reply for a statement that has none.

    All sentences were written for this project. Replies take a statement seriously, ask whether the speaker is safe,
    name help without a number, and stay.

    Args:
        split (`str`): `train` or `test`. `dev` is empty, since nothing is to be chosen by these statements.

    Raises:
        `ValueError`: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"The statements of danger have no split {split!r}: take {', '.join(SPLITS)}.")
    conversations = []
    for line in danger_lines():
        if line["split"] != split:
            continue
        said = {"role": "user", "content": line["statement"]}
        for number, reply in enumerate(line["replies"] or [None]):
            answer = [] if reply is None else [{"role": "assistant", "content": reply}]
            conversations.append({"id": f"danger-{line['id']}-{number}", "messages": [said, *answer]})
    return conversations
