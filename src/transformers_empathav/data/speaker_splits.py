"""Splits of labelled clips by speaker or by take, so that a model is tested on people whom it was not trained on."""

from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from .clips.ravdess import RAVDESS_NAME


def speaker_of(item: dict) -> str:
    """
    The speaker of a clip, to split by.

    Raises:
        `ValueError`: the clip has none.
    """
    speaker = item["messages"][-1].get("speaker")
    if not speaker:
        raise ValueError(
            f"{item['id']} has no speaker, so it cannot be kept on one side of a split by speaker: name speakers in "
            "the corpus."
        )
    return speaker


def take_of(item: dict) -> str:
    """
    Statement and repetition of a RAVDESS clip, to split the clips of one actor by. Face crops and full frames of a
    take give the same.

    Raises:
        `ValueError`: the clip is not named as in RAVDESS.
    """
    name = RAVDESS_NAME.fullmatch(Path(item["id"]).stem)
    if name is None:
        raise ValueError(f"{item['id']} is not named as in RAVDESS: takes are known by such names alone.")
    return f"statement{name[5]}-repetition{name[6]}"


def group_folds(items: list[dict], folds: int, group: Callable[[dict], str] = speaker_of) -> list[list[str]]:
    r"""
    Which groups each fold of a cross-validation holds out: fold `f` every `folds`-th of their sorted names from the
    `f`-th on.

    Args:
        items (`list[dict]`): Labelled clips.
        folds (`int`): From 2 to one a group.
        group (`Callable`, *optional*): The group of a clip; its speaker by default.

    Raises:
        `ValueError`: there are fewer groups than folds.
    """
    names = sorted({group(item) for item in items})
    if not 2 <= folds <= len(names):
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{folds} folds of {len(names)} groups ({listed}) cannot be made: take from 2 folds to one a group."
        )
    return [names[fold::folds] for fold in range(folds)]


def hold_out(
    items: list[dict], held_out: Collection[str], group: Callable[[dict], str] = speaker_of
) -> tuple[list[dict], list[dict]]:
    r"""
    Splits clips by group: those of other groups, and those of the groups held out.

    Args:
        items (`list[dict]`): Labelled clips.
        held_out (`Collection[str]`): Names of groups.
        group (`Callable`, *optional*): The group of a clip; its speaker by default.

    Raises:
        `ValueError`: a group that is to be held out does not occur, or nothing is left on a side.
    """
    by_group = defaultdict(list)
    for item in items:
        by_group[group(item)].append(item)
    if unknown := sorted(set(held_out) - set(by_group)):
        raise ValueError(
            f"{', '.join(unknown)} should be held out and is not in the corpus: {', '.join(by_group)} are."
        )
    kept = [item for item in items if group(item) not in held_out]
    out = [item for item in items if group(item) in held_out]
    if not kept or not out:
        raise ValueError("One side of the split is empty: hold out some of the groups, and not all of them.")
    return kept, out


def check_disjoint(group: Callable[[dict], str] = speaker_of, **sides: list[dict]):
    """
    Makes sure that no group is on two sides. Call it before training on one and testing on another.

    Args:
        group (`Callable`, *optional*): The group of a clip; its speaker by default.
        sides (`list[dict]`): Labelled clips of each side, by the name that the error calls it.

    Raises:
        `ValueError`: names a group that is on two sides.
    """
    seen: dict[str, str] = {}
    for side, items in sides.items():
        for name in {group(item) for item in items}:
            if seen.setdefault(name, side) != side:
                raise ValueError(
                    f"{name} is in both {seen[name]} and {side}: figures would speak of voices that were trained on. "
                    "Hold whole speakers out."
                )


def corpus_of(item: dict) -> str:
    """The corpus of a clip, as the recipe was given it; "" where it does not say."""
    return item.get("corpus", "")
