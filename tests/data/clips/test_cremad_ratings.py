"""What listeners heard in CREMA-D: one winner, several, and clips that nobody rated."""

import pytest

from clips import touch
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.clips.cremad import load_cremad
from transformers_empathav.data.clips.cremad_ratings import read_cremad_ratings, with_listeners
from transformers_empathav.data.clips.item import clip_item


TABLE = """"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"
"1","1001_IEO_ANG_MD","A:D","37.2:58.6","N","92.22","A","64.78"
"2","1040_ITH_SAD_XX","N","71.67","H","57","S","57.38"
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "summaryTable.csv"
    path.write_text(TABLE)
    return path


def test_winners_share_the_target(table):
    heard = read_cremad_ratings(table)
    assert heard == {"1001_IEO_ANG_MD": {"angry": 0.5, "disgust": 0.5}, "1040_ITH_SAD_XX": {"neutral": 1.0}}
    assert read_cremad_ratings(table, "face")["1040_ITH_SAD_XX"] == {"happy": 1.0}
    assert read_cremad_ratings(table, "both")["1001_IEO_ANG_MD"] == {"angry": 1.0}


def test_clips_of_cremad_carry_what_was_heard_and_others_stay_as_they_are(table, tmp_path):
    items = load_cremad(touch(tmp_path, "1001_IEO_ANG_MD.flv", "1040_ITH_SAD_X.wav"))
    other = clip_item("a.wav", "sad")
    rated = with_listeners([*items, other], read_cremad_ratings(table))
    assert [item.get("listeners") for item in rated] == [{"angry": 0.5, "disgust": 0.5}, {"neutral": 1.0}, None]
    assert [item["messages"] for item in rated] == [item["messages"] for item in [*items, other]]
    assert "listeners" not in items[0]


def test_what_is_wrong_is_named(table, tmp_path):
    with pytest.raises(ValueError, match="not given 'smell': say voice, face, both"):
        read_cremad_ratings(table, "smell")
    with pytest.raises(ValueError, match="No listener rated 1002_IEO_ANG_MD"):
        with_listeners(load_cremad(touch(tmp_path / "c", "1002_IEO_ANG_MD.flv")), read_cremad_ratings(table))
    table.write_text(TABLE.replace("A:D", "A:Q"))
    with pytest.raises(ValueError, match="1001_IEO_ANG_MD: 'Q' is none of A, D, F, H, N, S"):
        read_cremad_ratings(table)
    table.write_text("FileName,Vote\n")
    with pytest.raises(ValueError, match="no column VoiceVote"):
        read_cremad_ratings(table)


def test_the_real_votes_agree_with_the_actors_as_often_as_is_known(data_dir):
    """Plurality equals the intention in 0.42 of all clips by voice, 0.66 by face and 0.72 by both."""
    items = load_clip_corpus("cremad_audio")
    assert len(items) == 6131 and len({item["messages"][0]["speaker"] for item in items}) == 75
    for by, expected in (("voice", 0.42), ("face", 0.66), ("both", 0.72)):
        rated = with_listeners(items, read_cremad_ratings("cremad_ratings/summaryTable.csv", by))
        agreed = [item["listeners"].get(item["messages"][0]["emotion"]) == 1.0 for item in rated]
        assert sum(agreed) / len(agreed) == pytest.approx(expected, abs=0.02)
