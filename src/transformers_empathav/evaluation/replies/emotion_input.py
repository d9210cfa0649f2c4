"""Contexts with a clip before the words: to see what the emotion in voice and face does to a reply."""

import random
from collections.abc import Callable
from dataclasses import replace

from ...data.replies import text_of


INPUTS = ("none", "audio", "video", "both")


def pair_with_clips(rows: list[dict], clips: list[dict], load: Callable, seed: int = 0) -> dict[str, list[dict]]:
    r"""
    Synthetic audio-visual contexts: the last user message gets a clip that was acted in the emotion of its label. The
    clip says other words, by another person.

    Args:
        rows (`list[dict]`): Of [`reply_rows`]; those whose last user message has no label, or a label that no clip
            has, are left out.
        clips (`list[dict]`): Of [`load_clip_corpus`], with voice and face both.
        load (`Callable`): A source to the windows of `processor.load_clip`.
        seed (`int`): Which clip of the emotion each row gets.

    Returns:
        `dict[str, list[dict]]`: rows for each of `INPUTS`, with no clip, its voice, its face, or both.

    Raises:
        `ValueError`: no row can be paired, or a clip lacks voice or face.
    """
    by_emotion: dict[str, list[dict]] = {}
    for clip in clips:
        by_emotion.setdefault(clip["messages"][-1]["emotion"], []).append(clip)
    rows = [row for row in rows if row["prompt"][-1].get("emotion") in by_emotion]
    if not rows:
        raise ValueError(
            f"No last user message has one of the emotions of the clips ({', '.join(sorted(by_emotion))}): take a "
            "corpus with labelled utterances, such as meld."
        )
    random_, loaded, found = random.Random(seed), {}, {name: [] for name in INPUTS}
    for row in rows:
        clip = random_.choice(by_emotion[row["prompt"][-1]["emotion"]])
        if clip["id"] not in loaded:
            loaded[clip["id"]] = streams(clip, load)
        for name, windows in loaded[clip["id"]].items():
            found[name].append(with_clip(row, windows))
    return found


def streams(clip: dict, load: Callable) -> dict[str, list | None]:
    """The windows of a clip for each of `INPUTS`."""
    windows = load(clip["messages"][-1]["content"][0]["path"])
    if any(window.audio is None or window.frames is None for window in windows):
        raise ValueError(f"Clip {clip['id']} lacks voice or face: take clips that have both.")
    return {
        "none": None,
        "audio": [replace(window, frames=None) for window in windows],
        "video": [replace(window, audio=None) for window in windows],
        "both": windows,
    }


def with_clip(row: dict, windows: list | None) -> dict:
    """A row whose last message begins with a clip."""
    message = row["prompt"][-1]
    parts = [] if windows is None else [{"type": "video", "video": windows}]
    content = [*parts, {"type": "text", "text": text_of(message)}]
    return {**row, "prompt": [*row["prompt"][:-1], {**message, "content": content}]}
