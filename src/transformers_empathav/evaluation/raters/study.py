"""A study with people: a blind rating page made of replies, and figures of the saved ratings."""

import hashlib
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...measures.bootstrap import Scores, paired_difference, summary
from ..results.figures import rounded, write_json
from ..results.replies_file import read_replies_file
from .agreement import SCALES, agreement


PAGE = Path(__file__).with_name("study_page.html")
HUMAN = "human"  # name of the people whose replies are rated too


def make_study(
    sources: Sequence[str | os.PathLike],
    page: str | os.PathLike,
    key: str | os.PathLike,
    contexts: int = 20,
    systems: Sequence[str] | None = None,
    human: bool = False,
    seed: int = 0,
) -> dict:
    r"""
    Writes a rating page that names no system, and the key with the system of each reply.

    The page is one HTML file that works without a network. Each rater sees conversations and replies in another order
    and saves one file of ratings.

    Args:
        sources (`list[str]`): Output directories of `recipes/evaluate.py`, or their `replies.jsonl`.
        page (`str`): The page to write.
        key (`str`): The key to write. Do not give it to the raters.
        contexts (`int`, *optional*, defaults to 20): Conversations to draw from those that all sources hold.
        systems (`list[str]`, *optional*): Whose replies are rated; those of all systems by default.
        human (`bool`, *optional*, defaults to `False`): Whether the reply of a person is rated too.
        seed (`int`, *optional*, defaults to 0): Of the draw.

    Returns:
        `dict`: The content of the key.

    Raises:
        `ValueError`: a source is no file of replies, a system has no replies, or no context is left.
    """
    rows = merged([read_replies_file(source) for source in sources])
    names = list(systems) if systems else list(next(iter(rows.values()))["replies"])
    there = sorted({name for row in rows.values() for name in row["replies"]})
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"There are no replies of {unknown[0]!r}: there are {', '.join(there)}.")
    complete = [row for row in rows.values() if all(name in row["replies"] for name in names)]
    if not complete:
        raise ValueError(f"No context has replies of all of {', '.join(names)}: evaluate them on the same contexts.")
    random_ = random.Random(seed)
    chosen = random_.sample(complete, min(contexts, len(complete)))
    numbers = random_.sample(range(16**6), len(chosen) * (len(names) + human))
    shown, items = [], {}
    for row in chosen:
        replies = {name: row["replies"][name] for name in names} | ({HUMAN: row["gold"]} if human else {})
        listed = []
        for name in random_.sample(list(replies), len(replies)):  # the page's source has no order either
            item = f"{numbers.pop():06x}"
            items[item] = {"context": row["id"], "system": name}
            listed.append({"item": item, "text": replies[name]})
        shown.append({"messages": row["context"], "replies": listed})
    study = hashlib.sha256(json.dumps([shown, items]).encode()).hexdigest()[:16]
    content = json.dumps({"study": study, "contexts": shown}, ensure_ascii=False).replace("<", "\\u003c")
    Path(page).write_text(PAGE.read_text(encoding="utf-8").replace("__STUDY__", content), encoding="utf-8")
    written = {"study": study, "systems": [*names, *([HUMAN] if human else [])], "items": items}
    write_json(key, written)
    return written


def merged(sources: list[dict[str, dict]]) -> dict[str, dict]:
    """Contexts that all sources hold, with the replies of all sources."""
    first, *others = sources
    rows = {name: {**row, "replies": dict(row["replies"])} for name, row in first.items()}
    for other in others:
        rows = {name: row for name, row in rows.items() if name in other}
        for name, row in rows.items():
            for system, text in other[name]["replies"].items():
                if row["replies"].setdefault(system, text) != text:
                    raise ValueError(
                        f"Two sources have different replies of {system!r} to {name}: name systems apart."
                    )
    if not rows:
        raise ValueError("The sources share no context: evaluate on the same corpora with the same seed.")
    return rows


def score_study(files: Sequence[str | os.PathLike], key: str | os.PathLike) -> dict:
    r"""
    Scores the ratings of a study.

    Args:
        files (`list[str]`): Files that the page saved, one a rater.
        key (`str`): The key of the same study.

    Returns:
        `dict`: `raters`, `contexts`, and for each of `SCALES` the mean of each system with its 95 % interval over
        contexts and its number of ratings `n`, the `differences` of the last system to each other one with p, and the
        `alpha` of [`agreement`].

    Raises:
        `ValueError`: a file is of another study, is damaged, or a rater comes twice.
    """
    known = json.loads(Path(key).read_text(encoding="utf-8"))
    items = list(known["items"])
    table = {}  # rater -> (items, scales), not a number where there is no rating
    for path in files:
        rater, values = read_ratings(path, known)
        if rater in table:
            raise ValueError(f"{path} is a second file of rater {rater!r}: give one file a rater.")
        table[rater] = values
    ratings = np.stack(list(table.values()))
    if np.isnan(ratings).all():
        raise ValueError("The files hold no rating: nothing can be scored.")
    contexts = np.array([known["items"][item]["context"] for item in items])
    of_system = {
        name: np.array([known["items"][item]["system"] == name for item in items]) for name in known["systems"]
    }
    result = {"study": known["study"], "raters": len(table), "contexts": len(set(contexts)), "scales": {}}
    for number, scale in enumerate(SCALES):
        one = ratings[:, :, number]
        scores = {name: rated(one, where, contexts) for name, where in of_system.items()}
        scores = {name: measured for name, measured in scores.items() if measured.count()}
        groups = sorted(set(contexts))
        last = list(scores)[-1]
        result["scales"][scale] = {
            "systems": {
                name: rounded({**summary(measured, groups), "n": int(measured.statistics[:, 1].sum())})
                for name, measured in scores.items()
            },
            "differences": {
                f"{last} - {name}": rounded(paired_difference(scores[last], scores[name], groups))
                for name in list(scores)[:-1]
            },
            "alpha": agreement(one),
        }
    return result


def read_ratings(path: str | os.PathLike, known: dict) -> tuple[str, np.ndarray]:
    """The rater of a file, and the ratings `(items, scales)` in the order of the key, with NaN for missing ones."""
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
        study, rater = saved["study"], saved["rater"]
        given = {rating["item"]: rating for rating in saved["ratings"]}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of ratings ({error!r}): give what the page's last button saved."
        ) from None
    if study != known["study"]:
        raise ValueError(
            f"{path} is of study {study} and the key of study {known['study']}: give the key of its own study."
        )
    places = {item: place for place, item in enumerate(known["items"])}
    values = np.full((len(places), len(SCALES)), np.nan)
    for item, rating in given.items():
        if item not in places:
            raise ValueError(f"{path} rates {item!r}, which the study does not have: the file is damaged.")
        for number, scale in enumerate(SCALES):
            if (value := rating.get(scale)) is not None:
                if value not in (1, 2, 3, 4, 5):
                    raise ValueError(f"{path} has the rating {value!r} for {scale}: ratings are whole, 1 to 5.")
                values[places[item], number] = value
    return str(rater), values


def rated(ratings: np.ndarray, where: np.ndarray, contexts: np.ndarray) -> Scores:
    """
    Sum and number of all ratings of one system, for each context in the order of the contexts' names.

    Args:
        ratings (`np.ndarray` of shape `(raters, items)`): Not a number where a rating is missing.
        where (`np.ndarray` of shape `(items,)`): Which items are of the system.
        contexts (`np.ndarray` of shape `(items,)`): The context of each item.
    """
    names, index = np.unique(contexts, return_inverse=True)
    given, sums = ratings[:, where], np.zeros((len(names), 2))
    np.add.at(sums, index[where], np.stack([np.nansum(given, axis=0), (~np.isnan(given)).sum(axis=0)], axis=1))
    return Scores(sums)


def show_scores(result: dict) -> str:
    """The result of [`score_study`] as text."""
    lines = [f"{result['raters']} raters, {result['contexts']} contexts; 95 % intervals over contexts."]
    for scale, part in result["scales"].items():
        alpha = "not defined" if part["alpha"] is None else f"{part['alpha']:.3f}"
        lines += ["", f"{scale} (Krippendorff's alpha {alpha})"]
        for name, row in part["systems"].items():
            lines.append(f"  {name:<24} {row['value']:.2f}{span(row)}  {row['n']} ratings")
        for pair, row in part["differences"].items():
            p = f", p = {row['p']:.3f}" if "p" in row else ""
            lines.append(f"  {pair:<24} {row['value']:+.2f}{span(row)}{p}")
    return "\n".join(lines)


def span(row: dict) -> str:
    return f" ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else ""


def plot_scores(result: dict, path: str | os.PathLike):
    """Writes the means with their intervals as PNG."""
    from ..results.plots import plot_measures

    names = list(next(iter(result["scales"].values()))["systems"])
    systems = {
        name: {scale: part["systems"][name] for scale, part in result["scales"].items() if name in part["systems"]}
        for name in names
    }
    plot_measures(systems, SCALES, path, f"{result['raters']} raters, {result['contexts']} contexts")
