"""nEMO by its table: names of emotions, clips of another ending, rows without a clip."""

import pytest

from clips import only_message, touch
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.clips.nemo import load_nemo
from transformers_empathav.data.speaker_splits import speaker_of


HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"


def nemo(folder, *rows, header=HEADER):
    (folder / "data.tsv").write_text("\n".join([header, *("\t".join(row) for row in rows)]), encoding="utf-8")
    return folder


def row(name, emotion, speaker="KS0"):
    return name, emotion, "Dzień dobry.", "dzień dobry", speaker, "female", "24"


def test_nemo_by_its_table(tmp_path):
    touch(tmp_path, "samples/KS0_fear_1.wav", "KS0_surprised_2.opus")
    nemo(tmp_path, row("KS0_fear_1.wav", "fear"), row("KS0_surprised_2.wav", "surprised"))
    fear, surprised = load_clip_corpus(tmp_path)
    assert only_message(fear) == {
        "role": "user",
        "speaker": "KS0",
        "emotion": "fearful",
        "content": [
            {"type": "audio", "path": str(tmp_path / "samples" / "KS0_fear_1.wav")},
            {"type": "text", "text": "Dzień dobry."},
        ],
    }
    assert only_message(surprised)["emotion"] == "surprised"
    assert only_message(surprised)["content"][0]["path"] == str(tmp_path / "KS0_surprised_2.opus")
    assert len(load_nemo(tmp_path, {"fear": None})) == 1


def test_a_row_without_a_clip_stays_and_a_table_without_clips_is_refused(tmp_path):
    nemo(tmp_path, row("a.wav", "anger"), row("b.wav", "neutral"))
    with pytest.raises(ValueError, match="no clips beside data.tsv"):
        load_nemo(tmp_path)
    touch(tmp_path, "a.wav")
    assert [only_message(item)["content"][0]["path"] for item in load_nemo(tmp_path)] == [
        str(tmp_path / "a.wav"),
        str(tmp_path / "b.wav"),
    ]


def test_what_is_wrong_is_named(tmp_path):
    touch(tmp_path, "a.wav")
    with pytest.raises(ValueError, match="a.wav has the emotion 'bored'"):
        load_nemo(nemo(tmp_path, row("a.wav", "bored")))
    with pytest.raises(ValueError, match="no column file_id and no column raw_text"):
        load_nemo(nemo(tmp_path, ("a.wav", "anger", "KS0"), header="path\temotion\tspeaker_id"))


def test_the_real_corpus_is_whole(data_dir):
    items = load_clip_corpus("nemo_audio")
    assert len(items) == 2241 and len({speaker_of(item) for item in items}) == 9
    emotions = {item["messages"][0]["emotion"] for item in items}
    assert emotions == {"angry", "fearful", "happy", "neutral", "sad", "surprised"}
