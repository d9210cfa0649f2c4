"""Which clips the recipe reads: of which corpus, of which speakers, and with what listeners heard."""

import pytest

from clips import touch
from transformers_empathav.data.speaker_splits import corpus_of, speaker_of
from transformers_empathav.training.arguments import parse_groups
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.arguments import ClipArguments, ExtractorArguments, LearningArguments


@pytest.fixture
def corpora(tmp_path):
    touch(tmp_path, "a/03-01-05-02-02-01-12.wav", "b/1001_DFA_SAD_XX.flv", "b/1002_DFA_HAP_XX.flv")
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_clip_says_its_corpus_and_speakers_may_be_left_out(corpora):
    items, extra = ClipArguments(corpora=corpora, extra_corpora=corpora[1:], leave_out=["actor1001"]).load()
    assert [corpus_of(item) for item in items] == corpora and list(map(speaker_of, extra)) == ["actor1002"]
    with pytest.raises(ValueError, match="--leave_out actor7: nobody is called so; speakers are actor1001, "):
        ClipArguments(corpora=corpora, leave_out=["actor7"]).load()


def test_what_listeners_heard_comes_along(corpora, tmp_path):
    table = tmp_path / "votes.csv"
    table.write_text("FileName,VoiceVote,FaceVote\n1001_DFA_SAD_XX,N,S\n1002_DFA_HAP_XX,H:N,H\n")
    items, _ = ClipArguments(corpora=corpora, ratings=str(table)).load()
    assert [item.get("listeners") for item in items] == [None, {"neutral": 1.0}, {"happy": 0.5, "neutral": 0.5}]
    items, _ = ClipArguments(corpora=corpora, ratings=str(table), ratings_by="face").load()
    assert items[1]["listeners"] == {"sad": 1.0}


def test_settings_that_need_each_other_are_asked_for(tmp_path):
    given = ["--output_dir", str(tmp_path), "--use_cpu", "true"]
    with pytest.raises(ValueError, match="name the table with ratings"):
        parse_groups(ExtractorArguments, [*given, "--listeners", "0.3"])
    arguments = parse_groups(ExtractorArguments, [*given, "--bands", "4000", "8000", "--max_gain", "6"])
    assert arguments.clips.disturbance == Disturbance(bands=(4000.0, 8000.0), max_gain=6.0)
    assert ClipArguments().disturbance == Disturbance()


def test_which_statistics_of_a_voice_are_read():
    assert LearningArguments().voice_statistics(3).all()
    read = LearningArguments(voice_layers=[1, 2], voice_spread=False).voice_statistics(4)
    assert read.nonzero().tolist() == [[1, 0], [2, 0]]
    with pytest.raises(ValueError, match="names layer 4, and the audio encoder has 0 to 3"):
        LearningArguments(voice_layers=[4]).voice_statistics(4)
