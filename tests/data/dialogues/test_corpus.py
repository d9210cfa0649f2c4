"""The one loader of dialogues: where a corpus lies, and what is said where it does not."""

import json

import pytest

from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.empathetic_dialogues import load_empathetic_dialogues
from transformers_empathav.data.dialogues.esconv import load_esconv
from transformers_empathav.data.dialogues.locomo import load_locomo
from transformers_empathav.data.dialogues.meld import load_meld


def test_a_corpus_lies_in_the_folder_of_its_name(tmp_path, monkeypatch):
    turns = [{"speaker": "usr", "text": " Hi "}, {"speaker": "sys", "text": "Hello"}]
    (tmp_path / "esconv").mkdir()
    (tmp_path / "esconv" / "valid.jsonl").write_text(json.dumps({"dialog": turns}))
    monkeypatch.setenv("EMPATHAV_DATA", str(tmp_path))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert load_corpus("esconv", "dev") == [{"id": "esconv-dev-0", "messages": messages}]
    with pytest.raises(ValueError, match="empathetic_dialogues is no folder"):
        load_corpus("empathetic_dialogues", "train")
    monkeypatch.delenv("EMPATHAV_DATA")
    with pytest.raises(ValueError, match="EMPATHAV_DATA names: set it"):
        load_corpus("esconv", "dev")


def test_an_unknown_corpus_says_which_there_are():
    with pytest.raises(ValueError, match="meld, empathetic_dialogues, esconv"):
        load_corpus("nothing-here", "train")


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
