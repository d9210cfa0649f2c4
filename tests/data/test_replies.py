import pytest

from transformers_empathav.data.replies import bracketed, reply_rows


TALK = {
    "id": "talk",
    "messages": [
        {"role": "assistant", "content": "Nobody asked."},
        {"role": "user", "content": "My cat ran away.", "emotion": "sad"},
        {"role": "assistant", "content": "Oh no, since when?", "emotion": "surprised"},
        {"role": "user", "content": " "},
        {"role": "user", "content": [{"type": "audio", "path": "voice.wav"}]},
        {"role": "assistant", "content": "We will find her."},
        {"role": "assistant", "content": "And one more thing."},
    ],
}


def test_replies_are_what_answers_a_user():
    first, second = reply_rows([TALK])

    assert [first["id"], second["id"]] == ["talk-2", "talk-4"]
    assert first["prompt"] == TALK["messages"][:2]
    assert first["completion"] == [{"role": "assistant", "content": "Oh no, since when?"}]
    assert (first["emotion"], second["emotion"]) == ("surprised", None)
    assert second["prompt"][-1]["content"][0]["path"] == "voice.wav"  # a message of sound alone is not empty


def test_a_bound_keeps_the_newest_messages():
    assert reply_rows([TALK], max_turns=1)[1]["prompt"] == [TALK["messages"][4]]
    assert [row["id"] for row in reply_rows([TALK], min_words=4)] == ["talk-2", "talk-4"]
    assert [row["id"] for row in reply_rows([TALK], min_words=5)] == []


@pytest.mark.parametrize("index", [2, 5])
def test_the_emotion_stands_in_brackets_at_the_end(index):
    prompt = TALK["messages"][:index]

    asked = bracketed(prompt, "angry")

    content = asked[-1]["content"]
    assert (content if isinstance(content, str) else content[-1]["text"]).endswith("feeling [angry].)")
    assert prompt == TALK["messages"][:index]  # the caller's messages stay as they are
    assert asked[:-1] == prompt[:-1]


def test_a_prompt_without_a_user_is_refused():
    with pytest.raises(ValueError, match="role user"):
        bracketed(TALK["messages"][:3], "angry")
