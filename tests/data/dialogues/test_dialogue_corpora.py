"""Every corpus comes out in one schema, splits do not overlap, and a broken line is named."""

import json

import pytest

from transformers_empathav import EMOTION_LABELS
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.empathetic_dialogues import EMPATHETIC_EMOTIONS, load_empathetic_dialogues
from transformers_empathav.data.dialogues.esconv import load_esconv
from transformers_empathav.data.dialogues.jsonl import load_jsonl
from transformers_empathav.data.dialogues.locomo import load_locomo
from transformers_empathav.data.dialogues.meld import load_meld
from transformers_empathav.data.dialogues.tables import mend_quotes
from transformers_empathav.data.dialogues.windows import windows


MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


def test_meld_keeps_speakers_emotions_and_alternates_roles(tmp_path):
    rows = ['1,"Hi, you",Ross,joy,positive,0,0,1,1,a,b', "2,What,Ross,anger,negative,0,1,1,1,a,b"]
    rows += ["3,No,Joey,fear,negative,0,2,1,1,a,b", "4,Hm,Joey,neutral,neutral,1,0,1,1,a,b"]
    (tmp_path / "train_sent_emo.csv").write_text(MELD_HEADER + "\n".join(rows))
    first, second = load_meld(tmp_path, "train")
    assert [message["role"] for message in first["messages"]] == ["user", "user", "assistant"]
    assert [message["emotion"] for message in first["messages"]] == ["happy", "angry", "fearful"]
    assert first["messages"][0]["content"] == "Hi, you" and first["messages"][0]["speaker"] == "Ross"
    assert second["id"] == "meld-train-1"


def test_empathetic_dialogues_split_by_dialogue(tmp_path):
    rows = ["Dialog_ID,Type,Actor,Text,Label"]
    for index in range(200):
        rows += [
            f"d{index},situation,none,s,x",
            f"d{index},utterance,speaker,I won,x",
            f"d{index},utterance,listener,Oh,x",
        ]
    (tmp_path / "joyful.csv").write_text("\n".join(rows))
    train, dev = (load_empathetic_dialogues(tmp_path, split, dev_share=0.2) for split in ("train", "dev"))
    assert len(train) + len(dev) == 200 and dev
    assert not {item["id"] for item in train} & {item["id"] for item in dev}
    assert train[0]["messages"][0] == {"role": "user", "content": "I won", "emotion": "happy"}


def test_the_map_to_seven_emotions_names_each_of_the_32_once():
    names = [name for group in EMPATHETIC_EMOTIONS.values() for name in group]
    assert len(names) == len(set(names)) == 32
    assert set(EMPATHETIC_EMOTIONS) <= set(EMOTION_LABELS)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n{broken\n")
    with pytest.raises(ValueError, match="line 2 is no conversation"):
        load_jsonl(path)


def test_an_unknown_corpus_says_which_there_are():
    with pytest.raises(ValueError, match="meld, empathetic_dialogues, esconv"):
        load_corpus("nothing-here", "train")


def test_windows_hold_every_message_once():
    conversations = [{"id": "a", "messages": [{"role": "user", "content": str(index)} for index in range(7)]}]
    cut = windows(conversations, 3)
    assert sorted(len(window) for window in cut) == [1, 3, 3]
    assert sorted(message["content"] for window in cut for message in window) == [str(index) for index in range(7)]


def test_stray_bytes_become_the_punctuation_they_were():
    assert mend_quotes("I\x92m \x93here\x94 ") == "I’m “here”"


def test_the_real_corpora(data_dir):
    counts = {
        "meld": [len(load_meld(data_dir / "meld", split)) for split in ("train", "dev")],
        "esconv": [len(load_esconv(data_dir / "esconv", split)) for split in ("train", "dev")],
        "empathetic": sum(
            len(load_empathetic_dialogues(data_dir / "empathetic_dialogues", split)) for split in ("train", "dev")
        ),
        "locomo": [len(item["messages"]) for item in load_locomo(data_dir / "locomo" / "locomo3.json")],
    }
    assert counts == {"meld": [1038, 114], "esconv": [910, 195], "empathetic": 22315, "locomo": [419, 369, 663]}
