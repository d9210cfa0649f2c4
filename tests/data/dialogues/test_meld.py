"""MELD's dialogues: speakers, emotions, roles."""

from transformers_empathav.data.dialogues.meld import load_meld


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
