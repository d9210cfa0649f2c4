"""What listeners heard in the clips of CREMA-D, as published beside it."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from .cremad import CREMAD_EMOTIONS, CREMAD_NAME


VOTES = {"voice": "VoiceVote", "face": "FaceVote", "both": "MultiModalVote"}


def read_cremad_ratings(table: str | os.PathLike, by: str = "voice") -> dict[str, dict[str, float]]:
    r"""
    The emotion that most listeners chose for each clip, out of CREMA-D's `summaryTable.csv`. That table gives winners
    alone: how many chose them it does not say.

    Args:
        table (`str` or `os.PathLike`): The csv file, as it stands or below the folder that `EMPATHAV_DATA` names.
        by (`str`, *optional*, defaults to `"voice"`): What they were given: `"voice"`, `"face"` or `"both"`.

    Returns:
        `dict[str, dict[str, float]]`: by the name of a clip without its ending, the share of each emotion: 1, or equal
        shares where several have as many votes.

    Raises:
        `ValueError`: there is no such column, or a vote is unknown.
    """
    if by not in VOTES:
        raise ValueError(f"Listeners of CREMA-D were not given {by!r}: say {', '.join(VOTES)}.")
    path = Path(table)
    if not path.exists() and os.environ.get("EMPATHAV_DATA"):
        path = Path(os.environ["EMPATHAV_DATA"]) / table
    letters = {name[0]: emotion for name, emotion in CREMAD_EMOTIONS.items()}
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"FileName", VOTES[by]} - set(rows.fieldnames or ()):
            raise ValueError(f"{path} has no column {' and no column '.join(sorted(missing))}: is it CREMA-D's?")
        found = {}
        for row in rows:
            votes = row[VOTES[by]].split(":")
            if unknown := [vote for vote in votes if vote not in letters]:
                raise ValueError(f"{path}, {row['FileName']}: {unknown[0]!r} is none of {', '.join(letters)}.")
            found[row["FileName"]] = {letters[vote]: 1 / len(votes) for vote in votes}
    return found


def with_listeners(items: list[dict], ratings: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """
    The items, each of CREMA-D with the shares of [`read_cremad_ratings`] under `"listeners"`; others as they are.

    Raises:
        `ValueError`: a clip of CREMA-D is not in the table.
    """
    found = []
    for item in items:
        name = item["id"].rpartition("/")[2].partition(".")[0]
        if CREMAD_NAME.fullmatch(name):
            # One published clip, 1040_ITH_SAD_X, is called 1040_ITH_SAD_XX in the table.
            shares = ratings.get(name) or ratings.get(f"{name}X")
            if shares is None:
                raise ValueError(f"No listener rated {name}: take the table of the whole corpus, or no ratings.")
            item = {**item, "listeners": dict(shares)}
        found.append(item)
    return found
