"""EmpatheticDialogues: its split, and its 32 emotions in the seven."""

import pytest

from transformers_empathav.data.dialogues.empathetic_dialogues import EMPATHETIC_EMOTIONS, load_empathetic_dialogues
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


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
    assert train[0]["situation"] == "joyful"
    assert train[0]["messages"][0] == {"role": "user", "content": "I won", "emotion": "happy"}
    with pytest.raises(ValueError, match="no split 'test'"):
        load_empathetic_dialogues(tmp_path, "test")


def test_the_map_to_seven_emotions_names_each_of_the_32_once():
    names = [name for group in EMPATHETIC_EMOTIONS.values() for name in group]
    assert len(names) == len(set(names)) == 32
    assert set(EMPATHETIC_EMOTIONS) <= set(EMOTION_LABELS)
