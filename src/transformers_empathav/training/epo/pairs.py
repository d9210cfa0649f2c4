"""Loading preference pairs."""

import json
import random
import re
from pathlib import Path

from datasets import Dataset, concatenate_datasets, load_dataset, load_from_disk

from ...data.dialogues.jsonl import read_message
from ..collator import PAIR
from ..row_checks import RECENT_TURNS


# The end of a source of which some pairs are taken, written as slices of splits in datasets.
SLICE = re.compile(r"\[(\d*):(\d*)\]$")


def load_pairs(sources: list[str], split: str = "train") -> Dataset:
    r"""
    Pairs of one or several sources, one after the other.

    Args:
        sources (`list[str]`): Directories of `Dataset.save_to_disk`, JSON lines `{"id"?, "prompt", "chosen",
            "rejected", ...}` (a relative `path` of a clip counts from the folder of the file), or ids of the Hub. Of
            `runs/pairs/random[:400]` the first 400 are taken.
        split (`str`): Of a dataset of the Hub.

    Raises:
        `ValueError`: there is no source or nothing at one, a line is no pair, or the sources have other columns than
            the first.
    """
    if not sources:
        raise ValueError("There are no pairs to train on: name a directory, a file or a Hub id under `pairs`.")
    found = [sliced(source, split) for source in sources]
    for source, dataset in zip(sources, found):
        if dataset.features != found[0].features:
            raise ValueError(
                f"{source} and {sources[0]} have other columns or types: write both by the same recipe, or make one "
                f"dataset of them beforehand.\n{dataset.features}\n{found[0].features}"
            )
    return concatenate_datasets(found)


def sliced(source: str, split: str) -> Dataset:
    """Pairs of one source, or those that its slice names. Raises a `ValueError` if a slice holds none."""
    if (asked := SLICE.search(source)) is None:
        return load_source(source, split)
    dataset = load_source(source[: asked.start()], split)
    start, end = (int(number) if number else None for number in asked.groups())
    rows = range(len(dataset))[start:end]
    if not rows:
        raise ValueError(f"{source} holds no pair: there are {len(dataset)} of them.")
    return dataset.select(rows)


def load_source(source: str, split: str) -> Dataset:
    """Pairs of one source; see [`load_pairs`]."""
    path = Path(source)
    if kinds := sorted(found.parent.name for found in path.glob("*/dataset_info.json")):
        raise ValueError(f"{source} holds pairs of several kinds: name one, {path / kinds[0]} ({', '.join(kinds)}).")
    if (path / "dataset_info.json").is_file():
        return load_from_disk(str(path))
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return Dataset.from_list([parse_line(path, number, line) for number, line in enumerate(lines, 1)])
    try:
        return load_dataset(source, split=split)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"There are no pairs at {source}, here or on the Hub ({str(error).splitlines()[0]}): make them by "
            "recipes/counter_emotional.py, or name a directory, JSON lines or a dataset of the Hub."
        ) from None


def parse_line(path: Path, number: int, line: str) -> dict:
    """A line as a pair. The content of its messages becomes a list of parts, since a column of Arrow has one type."""
    try:
        row = json.loads(line)
        for name in ("prompt", *PAIR):
            messages = [read_message(message, path.parent) for message in row[name]]
            row[name] = [{**message, "content": as_parts(message["content"])} for message in messages]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}, line {number} is no pair ({error!r}): write {{"prompt": [...], "chosen": [...], "rejected": '
            "[...]}, each a list of messages."
        ) from None
    return {"id": f"{path.stem}-{number}", **row}


def as_parts(content: str | list[dict]) -> list[dict]:
    """The content of a message as a list of parts."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def from_memory(pairs: Dataset, share: float, seed: int) -> Dataset:
    """
    The pairs, a share of which, drawn by `seed`, has all but the newest message in the memory alone: their column
    `recent_turns` says 1. So the adapter learns to prefer what the memory holds, too.

    Raises:
        `ValueError`: the share is no number from 0 to 1, or the pairs say `recent_turns` themselves.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"memory_only is {share}: give a share from 0 to 1.")
    if share == 0:
        return pairs
    if RECENT_TURNS in pairs.column_names:
        raise ValueError(f"The pairs have a column {RECENT_TURNS} of their own: remove it, or leave memory_only at 0.")
    draw = random.Random(seed)
    return pairs.add_column(RECENT_TURNS, [1 if draw.random() < share else None for _ in range(len(pairs))])


def named_pairs(sources: list[str], rows: int) -> dict[str, Dataset]:
    """
    Held-out pairs by name: of each `name=source` the first `rows` pairs. One without a name is called `pairs`.

    Raises:
        `ValueError`: two have the same name.
    """
    found = {}
    for given in sources:
        name, _, source = given.rpartition("=")
        name = name or "pairs"
        if name in found:
            raise ValueError(f"Two sets of held-out pairs are called {name}: write `name=source`, each another name.")
        dataset = load_pairs([source])
        found[name] = dataset.select(range(min(rows, len(dataset))))
    return found
