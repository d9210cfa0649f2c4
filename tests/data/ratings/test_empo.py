"""EmPO's ratings: rows of a made file, what is refused, and the published one where it is there."""

import csv
from collections import Counter

import numpy as np
import pytest

from transformers_empathav.data.ratings.empo import HUMAN, SCALES, load_empo_ratings


FIELDS = ["annotator", "context", "emotion", "human_reply", "reply", "system", *SCALES]


def write(path, lines, fields=FIELDS):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return path


def line(annotator, system, first=50, **fields):
    shared = {"context": "I won\nYou did?\nI did", "emotion": "proud", "human_reply": "Yay", "reply": f"by {system}"}
    return {"annotator": annotator, "system": system, **shared, **dict.fromkeys(SCALES, 1), "dim1": first, **fields}


def test_a_row_is_a_reply_with_the_ratings_of_all_raters(tmp_path):
    lines = [line("2", "a", 20), line("1", "a", 10), line("1", HUMAN, 30), line("2", "a", context="Only this")]
    rows = load_empo_ratings(write(tmp_path / "ratings.csv", lines))
    assert [row["id"] for row in rows] == ["empo-0-a", f"empo-0-{HUMAN}", "empo-1-a"]
    first = rows[0]
    assert [message["role"] for message in first["prompt"]] == ["user", "assistant", "user"]
    assert first["prompt"][2]["content"] == "I did" and first["completion"][0]["content"] == "Yay"
    assert (first["reply"], first["situation"], first["conversation"]) == ("by a", "proud", "empo-0")
    assert first["ratings"]["dim1"] == [10, 20]  # by the raters' names


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no column dim3"):
        load_empo_ratings(write(tmp_path / "a.csv", [], [field for field in FIELDS if field != "dim3"]))
    with pytest.raises(ValueError, match="context 0 of a: could not convert"):
        load_empo_ratings(write(tmp_path / "b.csv", [line("1", "a", "much")]))


def test_the_published_file(data_dir):
    path = data_dir / "ratings" / "empo_human.csv"
    if not path.is_file():
        pytest.skip("EMPATHAV_DATA has no ratings/empo_human.csv")
    rows = load_empo_ratings(path)
    assert len(rows) == 675 and set(Counter(row["system"] for row in rows).values()) == {135}
    assert all(len(given) == 3 for row in rows for given in row["ratings"].values())
    mean = {
        name: np.mean([np.mean(row["ratings"]["dim1"]) for row in rows if row["system"] == name])
        for name in {row["system"] for row in rows}
    }
    assert max(mean, key=mean.get) == "zephyr_base" and min(mean, key=mean.get) == HUMAN
