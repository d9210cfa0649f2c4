"""Which messages teach a text classifier."""

from transformers_empathav.data.dialogues.labelled_texts import labelled_texts


def test_only_messages_with_words_and_an_emotion_count():
    talk = {
        "id": "talk",
        "messages": [
            {"role": "user", "content": " Oh no ", "emotion": "sad"},
            {"role": "assistant", "content": "What happened?"},
            {"role": "user", "content": " ", "emotion": "sad"},
            {"role": "user", "content": [{"type": "text", "text": "Again?"}], "emotion": "sad"},
            {"role": "user", "content": "Great!", "emotion": "happy"},
        ],
    }
    rows = [
        {"text": text, "label": label, "dialogue": "talk"}
        for text, label in (("Oh no", 5), ("Again?", 5), ("Great!", 3))
    ]
    assert labelled_texts([talk]) == rows
    assert labelled_texts([talk, talk], most=1) == [rows[0], rows[2]]
