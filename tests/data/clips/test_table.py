"""A csv file of labelled clips: what it may hold, and which line is wrong."""

import pytest

from clips import only_message
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.clips.table import load_labels


def test_a_table_of_your_own(tmp_path):
    (tmp_path / "labels.csv").write_text("path,actor,emotion,text\na/b.flac,ann,sad,Oh no\nc.mp4,,happy,\n")
    first, second = load_clip_corpus(tmp_path)
    assert first["id"] == "a/b.flac" and only_message(first)["speaker"] == "ann"
    assert only_message(first)["content"][0] == {"type": "audio", "path": str(tmp_path / "a/b.flac")}
    assert "speaker" not in only_message(second) and len(only_message(second)["content"]) == 1


def test_usual_names_of_emotions_are_known_and_a_label_map_goes_first(tmp_path):
    (tmp_path / "labels.csv").write_text("path,emotion\na.wav,Anger\nb.wav, JOY\nc.wav,neutral\nd.wav,fear\n")
    found = [only_message(item)["emotion"] for item in load_labels(tmp_path / "labels.csv", {"fear": "surprise"})]
    assert found == ["angry", "happy", "neutral", "surprised"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("path,emotion\na.wav,\n", "line 2 has no emotion"),
        ("path,emotion\na.wav,bored\n", "line 2 has the emotion 'bored'"),
        ("path,emotion\n,sad\n", "line 2 has no path"),
        ("path,label\na.wav,sad\n", "no column emotion"),
        ("path,emotion\na.txt,sad\n", "ends in '.txt'"),
        ("path,emotion\n", "no clips"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(tmp_path, text, error):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=error):
        load_labels(tmp_path / "labels.csv")
