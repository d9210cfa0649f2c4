"""CREMA-D by its names."""

import pytest

from clips import only_message, touch
from transformers_empathav.data.clips.cremad import load_cremad


def test_cremad_by_its_names(tmp_path):
    (item,) = load_cremad(touch(tmp_path, "1001_DFA_SAD_XX.flv", "notes.txt"))
    assert (only_message(item)["speaker"], only_message(item)["emotion"]) == ("actor1001", "sad")
    assert only_message(item)["content"][1]["text"] == "Don't forget a jacket."
    with pytest.raises(ValueError, match="'BOR'"):
        load_cremad(touch(tmp_path, "1001_DFA_BOR_XX.flv"))


def test_the_one_name_with_a_short_level_is_read(tmp_path, caplog):
    (item,) = load_cremad(touch(tmp_path, "1040_ITH_SAD_X.wav"))
    assert (only_message(item)["speaker"], only_message(item)["emotion"]) == ("actor1040", "sad") and not caplog.text
