"""Corpora of clips: names, tables and lines in one schema, labels that are unknown or missing, splits by speaker."""

import json

import pytest

from clips import write_clip
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.clips.cremad import load_cremad
from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.data.clips.jsonl import load_clip_lines
from transformers_empathav.data.clips.meld import load_meld_clips
from transformers_empathav.data.clips.ravdess import load_ravdess
from transformers_empathav.data.clips.table import load_labels
from transformers_empathav.data.speaker_splits import check_disjoint, group_folds, hold_out, speaker_of, take_of
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.processing.messages_empathav import parse_messages
from transformers_empathav.training.feature_cache import FeatureCache


def files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def message(item):
    (message,) = item["messages"]
    parse_messages([message], EMOTION_LABELS)  # the processor's own check
    return message


def test_ravdess_by_its_names(tmp_path, caplog):
    files(
        tmp_path, "Actor_12/03-01-05-02-02-01-12.wav", "01-01-08-01-01-02-03.mp4", "03-02-03-01-01-01-01.wav", "a.wav"
    )
    video, sound = load_ravdess(tmp_path)
    assert "2 files" in caplog.text and "left out" in caplog.text
    assert message(sound) == {
        "role": "user",
        "speaker": "actor12",
        "emotion": "angry",
        "content": [
            {"type": "audio", "path": str(tmp_path / "Actor_12/03-01-05-02-02-01-12.wav")},
            {"type": "text", "text": "Dogs are sitting by the door."},
        ],
    }
    assert message(video)["emotion"] == "surprised" and message(video)["content"][0]["type"] == "video"


def test_calm_is_not_one_of_the_seven_and_is_never_guessed(tmp_path):
    files(tmp_path, "03-01-02-01-01-01-01.wav", "03-01-03-01-01-01-01.wav")
    with pytest.raises(ValueError, match="'calm', which is none of .*label_map"):
        load_ravdess(tmp_path)
    assert [message(item)["emotion"] for item in load_ravdess(tmp_path, {"calm": "neutral"})] == ["neutral", "happy"]
    assert [message(item)["emotion"] for item in load_ravdess(tmp_path, {"calm": None})] == ["happy"]


def test_cremad_by_its_names(tmp_path):
    (item,) = load_cremad(files(tmp_path, "1001_DFA_SAD_XX.flv", "notes.txt"))
    assert (message(item)["speaker"], message(item)["emotion"]) == ("actor1001", "sad")
    assert message(item)["content"][1]["text"] == "Don't forget a jacket."
    with pytest.raises(ValueError, match="'BOR'"):
        load_cremad(files(tmp_path, "1001_DFA_BOR_XX.flv"))


def meld(folder, *rows):
    lines = ["Sr No.,Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID"]
    lines += [f"{n},{text},{who},{emotion},{d},{u}" for n, (text, who, emotion, d, u) in enumerate(rows)]
    (folder / "dev_sent_emo.csv").write_text("\n".join(lines))
    return folder / "dev_sent_emo.csv"


def test_meld_reads_the_clips_of_its_own_split(tmp_path):
    files(tmp_path, "dev_splits_complete/dia0_utt1.mp4", "train_splits/dia0_utt1.mp4")
    (item,) = load_meld_clips(meld(tmp_path, ("What?", "Monica", "surprise", 0, 1)))
    assert message(item)["content"][0]["path"] == str(tmp_path / "dev_splits_complete/dia0_utt1.mp4")
    assert (message(item)["emotion"], message(item)["speaker"], item["id"]) == (
        "surprised",
        "Monica",
        "meld-dev-dia0_utt1",
    )


def test_a_row_of_meld_without_a_clip_is_one_that_cannot_be_read(tmp_path, model, processor):
    write_clip(tmp_path / "dia0_utt1.mp4", seconds=0.4)
    table = meld(tmp_path, ("What?", "Monica", "surprise", 0, 1), ("Hm", "Joey", "joy", 0, 2))
    items = load_meld_clips(table)
    cache = FeatureCache(model.model.extractor, processor)
    assert cache.prepare(items, max_unreadable=0.5, progress=False) == items[:1]
    with pytest.raises(ValueError, match="1 of 2 clips cannot be read(.|\n)*meld-dev-dia0_utt2"):
        cache.prepare(items, max_unreadable=0.4, progress=False)
    (tmp_path / "dia0_utt1.mp4").unlink()
    with pytest.raises(ValueError, match="no clips named dia"):
        load_meld_clips(table)


def test_a_table_of_your_own(tmp_path):
    (tmp_path / "labels.csv").write_text("path,actor,emotion,text\na/b.flac,ann,sad,Oh no\nc.mp4,,happy,\n")
    first, second = load_clip_corpus(tmp_path)
    assert first["id"] == "a/b.flac" and message(first)["speaker"] == "ann"
    assert message(first)["content"][0] == {"type": "audio", "path": str(tmp_path / "a/b.flac")}
    assert "speaker" not in message(second) and len(message(second)["content"]) == 1


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


def test_lines_of_your_own(tmp_path):
    clip = {"role": "user", "emotion": "joyful", "speaker": "x", "content": [{"type": "audio", "path": "a.wav"}]}
    older = {"role": "assistant", "content": "Hello"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"id": "1", "messages": [older, clip]}))
    (item,) = load_clip_lines(path, {"joyful": "happy"})
    assert message(item)["emotion"] == "happy" and message(item)["content"][0]["path"] == str(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="'joyful'"):
        load_clip_lines(path)
    path.write_text(json.dumps({"id": "1", "messages": [clip, older]}))
    with pytest.raises(ValueError, match="does not end in a user's message with a clip"):
        load_clip_lines(path)


def test_nothing_there_says_what_could_be(tmp_path, monkeypatch):
    monkeypatch.delenv("EMPATHAV_DATA", raising=False)
    with pytest.raises(ValueError, match="EMPATHAV_DATA"):
        load_clip_corpus("no_such_corpus")
    with pytest.raises(ValueError, match="name its csv file"):
        load_clip_corpus(files(tmp_path, "dia0_utt1.mp4"))


def item(speaker, number=1):
    return clip_item(f"03-01-05-02-0{number}-01-{speaker}.wav", "angry", f"actor{speaker}")


ITEMS = [item(speaker, number) for speaker in ("01", "02", "03", "04", "05") for number in (1, 2)]


def test_folds_hold_every_speaker_out_once_and_no_speaker_is_on_both_sides():
    held_out = group_folds(ITEMS, 3)
    assert sorted(name for fold in held_out for name in fold) == [f"actor0{n}" for n in range(1, 6)]
    for fold in held_out:
        kept, out = hold_out(ITEMS, fold)
        check_disjoint(training=kept, test=out)
        assert len(kept) + len(out) == len(ITEMS) and {speaker_of(one) for one in out} == set(fold)


def test_a_speaker_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="actor02 is in both training and dev"):
        check_disjoint(training=ITEMS[:3], dev=ITEMS[3:])


def test_splits_that_cannot_be_made_say_why():
    with pytest.raises(ValueError, match="has no speaker"):
        group_folds([clip_item("a.wav", "sad")], 2)
    with pytest.raises(ValueError, match="6 folds of 5 groups"):
        group_folds(ITEMS, 6)
    with pytest.raises(ValueError, match="actor09 should be held out"):
        hold_out(ITEMS, ["actor09"])
    with pytest.raises(ValueError, match="One side of the split is empty"):
        hold_out(ITEMS, [f"actor0{n}" for n in range(1, 6)])


def test_takes_of_crops_and_full_frames_agree():
    crop, full = clip_item("faces/01-01-05-02-02-01-01.mp4", "angry"), clip_item("01-01-05-02-02-01-01.mp4", "angry")
    assert take_of(crop) == take_of(full) == "statement02-repetition01" != take_of(ITEMS[0])
    with pytest.raises(ValueError, match="not named as in RAVDESS"):
        take_of(clip_item("a.wav", "sad"))


def test_the_real_corpus_is_whole(data_dir):
    items = load_clip_corpus("ravdess_audio")
    assert len(items) == 1040 and len({speaker_of(one) for one in items}) == 20
    assert len(load_clip_corpus("av_clips")) == 62
