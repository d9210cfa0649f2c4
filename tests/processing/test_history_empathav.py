"""What becomes of older messages."""

import pytest
import torch

from helpers import assistant, encode, sound, user
from transformers_empathav.processing import history_empathav


OLDER = [
    user("I lost my job", emotion="sad", speaker="Ross"),
    {**assistant("I am sorry"), "speaker": "Rachel"},
    user("They gave no reason", emotion="angry"),
    assistant("Oh"),
]


def utterances(processor, history):
    """The texts between the read-outs of the one row of `history`, each of which has all of them."""
    text = processor.decode(history["history_input_ids"][0])
    *texts, rest = text.split(processor.memory_token * processor.memory_tokens_per_utterance)
    assert rest == "" and processor.memory_token not in "".join(texts)
    return texts


@pytest.fixture
def said(monkeypatch):
    warnings = []
    history_empathav.logger.warning_once.cache_clear()
    monkeypatch.setattr(history_empathav.logger, "warning", lambda message, *args: warnings.append(message))
    return warnings


def test_role_speaker_emotion_and_text_are_read(processor):
    assert utterances(processor, processor.encode_history(OLDER)) == [
        "user Ross (sad): I lost my job",
        "assistant Rachel: I am sorry",
        "user (angry): They gave no reason",
        "assistant: Oh",
    ]


@pytest.mark.parametrize("recent", [1, 2, 3, 4])
def test_what_is_older_than_the_recent_turns_becomes_history(processor, recent):
    system = {"role": "system", "content": "Be kind."}
    messages = [*OLDER, user("what now?")]
    for conversation in (messages, [system, *messages]):
        inputs = encode(processor, conversation, recent_turns=recent)
        alone = processor.encode_history(messages[:-recent])
        for name in ("history_input_ids", "history_attention_mask"):
            assert torch.equal(inputs[name], alone[name])
        text = processor.decode(inputs["input_ids"][0])
        verbatim = [message["content"] in text for message in OLDER if isinstance(message["content"], str)]
        assert verbatim == [recent >= 4, recent >= 2]
        vectors = (len(messages) - recent) * processor.memory_tokens_per_utterance
        assert text.count(processor.memory_token) == vectors


def test_a_short_conversation_has_no_history(processor):
    inputs = encode(processor, OLDER, recent_turns=4)
    assert "history_input_ids" not in inputs
    assert not (inputs["input_ids"] == processor.memory_token_id).any()


def test_turn_by_turn_gives_what_one_call_gives(processor):
    pieces = [processor.encode_history([message])["history_input_ids"] for message in OLDER]
    assert torch.equal(torch.cat(pieces, dim=1), processor.encode_history(OLDER)["history_input_ids"])


def test_a_batch_is_padded_on_the_right(processor):
    batch = processor.encode_history([OLDER[3:], [], OLDER])
    for index, messages in enumerate((OLDER[3:], [], OLDER)):
        alone = processor.encode_history(messages)["history_input_ids"][0]
        mask = batch["history_attention_mask"][index]
        assert torch.equal(batch["history_input_ids"][index, : len(alone)], alone)
        assert mask.sum() == mask[: len(alone)].sum() == len(alone)
    assert processor.encode_history([])["history_input_ids"].shape == (1, 0)


def test_clips_of_history_are_not_decoded(processor):
    older = user(("video", "missing.mp4"), "look", emotion="happy")
    inputs = encode(processor, [older, user("hm")], recent_turns=1)
    assert utterances(processor, inputs) == ["user (happy): look"] and "video_mask" not in inputs


def test_texts_around_a_clip_stay_apart(processor):
    older = user("before", ("audio", sound(1)), "after", emotion="sad")
    assert utterances(processor, processor.encode_history([older])) == ["user (sad): before after"]


def test_an_older_clip_without_text_or_emotion_is_an_error(processor):
    system = {"role": "system", "content": "Be kind."}
    with pytest.raises(ValueError, match="^Conversation 1: Message 2 has .* only a clip: add what was said"):
        encode(processor, [system, user(("audio", sound(1)), " "), user("hm")], recent_turns=1)
    with pytest.raises(ValueError, match="^Conversation 2: Message 1 has become history"):
        processor.encode_history([OLDER, [user(("audio", sound(1)))]])


def test_an_older_clip_with_emotion_alone_says_that(processor, said):
    history = processor.encode_history([user(("audio", sound(1)), emotion="sad")])
    assert utterances(processor, history) == ["user (sad): "] and not said


def test_an_older_clip_with_text_alone_warns_once(processor, said):
    for _ in range(2):
        processor.encode_history([user(("audio", sound(1)), "hi"), user(("audio", sound(2)), "you")])
    assert len(said) == 1 and "add the message's 'emotion'" in said[0]
