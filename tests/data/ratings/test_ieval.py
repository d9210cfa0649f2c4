"""iEval's ratings: rows of a made file, what is refused, and the published one where it is there."""

import json

import pytest

from transformers_empathav.data.ratings.ieval import CHATBOTS, SCALES, load_ieval_ratings, turns_of


def write(path, **changes):
    def experience(emotion):
        talk = {"chat_log": "- I won\n- You did?\n- Yes\n- Well done.", **dict.fromkeys(SCALES, 2), **changes}
        return {"emotion": emotion, **{name: talk for name in CHATBOTS}}

    person = {"part": 7, "positive": experience("proud"), "negative": experience("sad")}
    path.write_text(json.dumps([person]))
    return path


def test_a_row_is_a_reply_of_a_rated_talk(tmp_path):
    rows = load_ieval_ratings(write(tmp_path / "ieval.json"))
    assert len(rows) == 2 * 4 * 2
    first, second = rows[:2]
    assert (first["reply"], second["reply"]) == ("You did?", "Well done.")
    assert [message["content"] for message in second["prompt"]] == ["I won", "You did?", "Yes"]
    assert first["rated"] == second["rated"] == "ieval-7-positive-Pink" and first["conversation"] == "ieval-7"
    assert first["ratings"]["Rating"] == 2 and (first["valence"], rows[-1]["valence"]) == (1, -1)


def test_a_line_without_a_dash_goes_on_with_the_turn_before():
    assert turns_of("- I have to work.\nUgh\n- oh no") == ["I have to work. Ugh", "oh no"]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ieval-7-positive, Pink"):
        load_ieval_ratings(write(tmp_path / "ieval.json", Rating=None))
    (tmp_path / "other.json").write_text('[{"part": 1}]')
    with pytest.raises(ValueError, match="KeyError"):
        load_ieval_ratings(tmp_path / "other.json")


def test_the_published_file(data_dir):
    path = data_dir / "ratings" / "ieval.json"
    if not path.is_file():
        pytest.skip("EMPATHAV_DATA has no ratings/ieval.json")
    rows = load_ieval_ratings(path)
    assert len({row["rated"] for row in rows}) == 240 * 2 * 4 and len(rows) == 3 * 1920
    assert all(row["prompt"][-1]["role"] == "user" for row in rows)
    assert {row["ratings"]["Rating"] for row in rows} == {1, 2, 3}
