"""Contexts with a clip in the last message, to measure what the emotion of voice and face does to a reply."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...data.clips.corpus import load_clip_corpus
from ...data.clips.pairing import by_emotion, with_clip
from ..content_cache import ContentCache
from .answers import Answers, answer
from .contexts import corpus_rows, draw
from .systems import System
from .writing import Writing


INPUTS = ("none", "audio", "video", "both")  # no clip, its voice, its face, or both


@dataclass
class EmotionInputArguments:
    """Options of [`answers_with_clips`]."""

    emotion_system: str | None = field(
        default=None, metadata={"help": "Who answers with voice, face, both and neither; none by default."}
    )
    emotion_corpus: str = field(default="meld", metadata={"help": "With labels of the user's emotion."})
    emotion_contexts: int = field(default=200, metadata={"help": "Contexts that get a clip."})
    clips: str = field(default="av_clips/faces", metadata={"help": "Clips with voice and face; synthetic."})


def answers_with_clips(
    arguments: EmotionInputArguments,
    system: System,
    writing: Writing,
    cache: ContentCache,
    batch_size: int,
    seed: int,
) -> dict[str, Answers]:
    """What a system answers to the same contexts under each of `INPUTS`; see [`pair_with_clips`]."""
    clips = load_clip_corpus(arguments.clips)
    labels = {clip["messages"][-1]["emotion"] for clip in clips}
    rows = [row for row in corpus_rows(arguments.emotion_corpus) if row["prompt"][-1].get("emotion") in labels]
    drawn = draw(rows, arguments.emotion_contexts, seed)
    paired = pair_with_clips(drawn, clips, system.processor.load_clip, seed)
    return {name: answer(system, rows, writing, cache, batch_size) for name, rows in paired.items()}


def pair_with_clips(rows: list[dict], clips: list[dict], load: Callable, seed: int = 0) -> dict[str, list[dict]]:
    r"""
    Makes synthetic audio-visual contexts: the last user message gets a clip that was acted in the emotion of its
    label. Another person says other words in that clip.

    Args:
        rows (`list[dict]`): Of [`reply_rows`]. Those whose last message has no label, or one that no clip has, are
            left out.
        clips (`list[dict]`): Of [`load_clip_corpus`], each with voice and face.
        load (`Callable`): A path to the windows of the clip: `processor.load_clip`.
        seed (`int`, *optional*, defaults to 0): Of the draw among clips of an emotion.

    Returns:
        `dict[str, list[dict]]`: The same rows for each of `INPUTS`.

    Raises:
        `ValueError`: no row can be paired, or a clip lacks voice or face.
    """
    acted = by_emotion(clips)
    rows = [row for row in rows if row["prompt"][-1].get("emotion") in acted]
    if not rows:
        raise ValueError(
            f"No last user message has one of the emotions of the clips ({', '.join(sorted(acted))}): take a "
            "corpus with labelled utterances, such as meld."
        )
    random_, loaded, found = random.Random(seed), {}, {name: [] for name in INPUTS}
    for row in rows:
        clip = random_.choice(acted[row["prompt"][-1]["emotion"]])
        if clip["id"] not in loaded:
            loaded[clip["id"]] = streams(clip, load)
        for name, windows in loaded[clip["id"]].items():
            found[name].append(with_clip(row, None if windows is None else {"type": "video", "video": windows}))
    return found


def streams(clip: dict, load: Callable) -> dict[str, list | None]:
    """The windows of a clip for each of `INPUTS`; `None` for no clip."""
    windows = load(clip["messages"][-1]["content"][0]["path"])
    if any(window.audio is None or window.frames is None for window in windows):
        raise ValueError(f"Clip {clip['id']} lacks voice or face: take clips that have both.")
    return {
        "none": None,
        "audio": [replace(window, frames=None) for window in windows],
        "video": [replace(window, audio=None) for window in windows],
        "both": windows,
    }
