"""Clips for messages that have none: acted in the emotion of their label, by another person in other words."""

from collections import defaultdict

from ..replies import text_of


def by_emotion(clips: list[dict]) -> dict[str, list[dict]]:
    """Labelled clips of [`load_clip_corpus`], by their emotion."""
    found = defaultdict(list)
    for clip in clips:
        found[clip["messages"][-1]["emotion"]].append(clip)
    return dict(found)


def with_clip(row: dict, part: dict | None) -> dict:
    """A row of replies whose last message is the part of a clip, where one is given, and its words. Synthetic."""
    message = row["prompt"][-1]
    content = [*([] if part is None else [part]), {"type": "text", "text": text_of(message)}]
    return {**row, "prompt": [*row["prompt"][:-1], {**message, "content": content}]}
