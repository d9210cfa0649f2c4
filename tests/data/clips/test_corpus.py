"""The one loader of labelled clips: which corpus a folder holds, and what is said where there is none."""

import pytest

from clips import only_message, touch
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.speaker_splits import speaker_of


def test_a_folder_is_read_as_the_corpus_whose_names_it_holds(tmp_path, monkeypatch):
    touch(tmp_path, "ravdess/03-01-05-02-02-01-12.wav", "cremad/below/1001_DFA_SAD_XX.flv")
    (ravdess,), (cremad,) = (load_clip_corpus(tmp_path / name) for name in ("ravdess", "cremad"))
    assert (only_message(ravdess)["speaker"], only_message(cremad)["speaker"]) == ("actor12", "actor1001")
    monkeypatch.setenv("EMPATHAV_DATA", str(tmp_path))
    assert load_clip_corpus("cremad") == [cremad]
    assert load_clip_corpus("ravdess", {"angry": "disgust"})[0]["messages"][0]["emotion"] == "disgust"


def test_nothing_there_says_what_could_be(tmp_path, monkeypatch):
    monkeypatch.delenv("EMPATHAV_DATA", raising=False)
    with pytest.raises(ValueError, match="EMPATHAV_DATA"):
        load_clip_corpus("no_such_corpus")
    with pytest.raises(ValueError, match="name its csv file"):
        load_clip_corpus(touch(tmp_path, "dia0_utt1.mp4"))


def test_the_real_corpus_is_whole(data_dir):
    items = load_clip_corpus("ravdess_audio")
    assert len(items) == 1040 and len({speaker_of(one) for one in items}) == 20
    assert len(load_clip_corpus("av_clips")) == 62
