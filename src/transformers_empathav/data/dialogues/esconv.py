"""ESConv: a seeker and a supporter."""

import json
import os
from pathlib import Path


ROLES = {"usr": "user", "sys": "assistant"}


def load_esconv(folder: str | os.PathLike, split: str) -> list[dict]:
    """ESConv's JSON lines: the seeker is the user. `split` is `train` or `dev`, whose file is called valid."""
    path = Path(folder) / f"{'valid' if split == 'dev' else split}.jsonl"
    conversations = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        turns = json.loads(line)["dialog"]
        messages = [{"role": ROLES[turn["speaker"]], "content": turn["text"].strip()} for turn in turns]
        conversations.append({"id": f"esconv-{split}-{number}", "messages": messages})
    return conversations
