"""Preference pairs as a dataset on disk, with a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, Features, List, Value

from .kinds import DRAWN, JOINED, WRITTEN


TEXT, NUMBER = Value("string"), Value("float64")
# Fields that a part of a message may have: clips are named by path or address.
PART = {name: TEXT for name in ("type", "text", "path", "url", "audio", "video")}
CANDIDATE = {
    **{name: TEXT for name in ("emotion", "text", "finish_reason", "reason")},
    **{name: NUMBER for name in ("emotional_distance", "contextual_similarity", "length_ratio", "obedience")},
    "words": Value("int64"),
}


def pair_features(with_clips: bool) -> Features:
    """Columns of a dataset of pairs. The content of a prompt's messages is text, or parts where there are clips."""
    said = {"role": TEXT, "content": TEXT}
    message = {"role": TEXT, "content": List(PART) if with_clips else TEXT, "emotion": TEXT, "speaker": TEXT}
    return Features(
        {
            **{name: TEXT for name in ("id", "dialogue", "kind", "exchange")},
            "prompt": List(message),
            **{name: List(said) for name in ("chosen", "rejected")},
            **{name: TEXT for name in ("emotion", "emotion_by", "rejected_emotion")},
            **{name: NUMBER for name in ("emotional_distance", "contextual_similarity", "length_ratio")},
            "candidates": List(CANDIDATE),
        }
    )


def pair_dataset(pairs: Sequence[dict]) -> Dataset:
    """
    Makes a dataset of pairs, with the same columns for every kind.

    Raises:
        `ValueError`: a clip is given otherwise than by its path or address.
    """
    with_clips = any(not isinstance(message["content"], str) for pair in pairs for message in pair["prompt"])
    rows = []
    for pair in pairs:
        prompt = []
        for message in pair["prompt"]:
            content = message["content"]
            if with_clips:
                content = [{"type": "text", "text": content}] if isinstance(content, str) else content
                for part in content:
                    check_part(part, pair["id"])
            prompt.append({"emotion": None, "speaker": None, **message, "content": content})
        rows.append({"exchange": None, **pair, "prompt": prompt})
    return Dataset.from_list(rows, features=pair_features(with_clips))


def check_part(part: dict, name: str):
    """Raises a `ValueError` for a part that a dataset of pairs cannot hold."""
    if wrong := [key for key, value in part.items() if key not in PART or not isinstance(value, str | None)]:
        raise ValueError(
            f"{name} has a part of type {part.get('type')!r} with {', '.join(wrong)}: in pairs a clip is named by its "
            "path or url."
        )


def save_pairs(
    pairs: Sequence[dict], directory: str | os.PathLike, kind: str, facts: dict, counts: dict, measures: dict
):
    r"""
    Writes pairs for `datasets.load_from_disk`, with a card. A directory that is there already is replaced as a whole.

    Args:
        pairs (`Sequence[dict]`): Rows of [`make_pairs`].
        directory (`str` or `os.PathLike`): Where the dataset goes.
        kind (`str`): Their kind.
        facts (`dict`): Settings that the card lists, `corpora`, `split` and `writer` among them.
        counts (`dict`): Of [`make_pairs`].
        measures (`dict`): Of [`pair_measures`].
    """
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".partial-") as scratch:
        made = Path(scratch, "pairs")
        pair_dataset(pairs).save_to_disk(made)
        (made / "README.md").write_text(card(kind, facts, counts, measures), encoding="utf-8")
        if directory.exists():
            shutil.rmtree(directory)
        os.rename(made, directory)


def card(kind: str, facts: dict, counts: dict, measures: dict) -> str:
    """The README of the dataset."""
    origin = "Rejected replies are human, from other dialogues of the corpus."
    if kind in WRITTEN:
        sides = "Rejected replies are" if kind == "counter_emotional" else "Both replies are"
        origin = f"{sides} synthetic, written by {facts['writer']}."
    if kind in DRAWN:
        origin = f"Both replies are synthetic, drawn from {facts['writer']}; people labelled the situation."
    if kind in JOINED:
        origin = "Rejected replies are synthetic: another human reaction before the rest of the chosen reply."
    leak = (
        f"**A bag of words tells chosen from rejected (texts {measures['style_texts']:.2f}, pairs "
        f"{measures['style_pairs']:.2f}): the pairs leak style, and training can gain by it alone.**\n"
        if measures["leaks"]
        else ""
    )
    found = "\n".join(
        f"| {name} | {value if not isinstance(value, float) else round(value, 3)} |"
        for name, value in measures.items()
    )
    ends = "\n".join(f"| {name} | {count} |" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    settings = json.dumps({name: value for name, value in facts.items() if value is not None}, indent=1)
    return (
        f"---\ntags: [preference, trl, empathetic-dialogue]\n---\n\n# Preference pairs: {kind}\n\n"
        f"Rows are conversational preference data as TRL reads it. Contexts are of {', '.join(facts['corpora'])}, "
        f"split {facts['split']}, whose licence and terms hold for them. {origin} Similarities are judged by "
        f"classifiers, which err.\n\n{leak}\n| measure | |\n| --- | ---: |\n{found}\n\n"
        f"What became of candidates, and rows without any that could be chosen:\n\n| | |\n| --- | ---: |\n{ends}\n\n"
        f"Made by recipes/counter_emotional.py with\n\n```json\n{settings}\n```\n"
    )
