"""LoCoMo: very long conversations of two friends."""

import json
import os
from pathlib import Path


def load_locomo(path: str | os.PathLike) -> list[dict]:
    """LoCoMo's JSON file: the sessions of each conversation one after the other, the first speaker as the user."""
    conversations = []
    for item in json.loads(Path(path).read_text(encoding="utf-8")):
        talk, messages = item["conversation"], []
        sessions = sorted(
            (key for key in talk if key.split("_")[-1].isdigit()), key=lambda key: int(key.split("_")[1])
        )
        for turn in (turn for session in sessions for turn in talk[session]):
            role = "user" if turn["speaker"] == talk["speaker_a"] else "assistant"
            messages.append({"role": role, "speaker": turn["speaker"], "content": turn["text"]})
        conversations.append({"id": f"locomo-{item['sample_id']}", "messages": messages})
    return conversations
