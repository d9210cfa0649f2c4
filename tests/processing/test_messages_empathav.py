"""Messages as users write them: what is understood, and what is refused with a reason."""

import numpy as np
import pytest

from transformers_empathav.processing import messages_empathav
from transformers_empathav.processing.messages_empathav import (
    ControlTokenEscape,
    MediaPart,
    is_conversation,
    pair_streams,
    parse_conversations,
    parse_messages,
)


LABELS = ["happy", "sad"]
NESTED = []
for _ in range(100_000):
    NESTED = [NESTED]


def parse(message):
    (turn,) = parse_messages([message], LABELS)
    return turn


def part(**fields):
    """The part of a user message that has no other."""
    (parsed,) = parse({"role": "user", "content": [fields]}).parts
    return parsed


# What is understood


def test_a_string_is_a_text_part():
    as_string, as_part = (
        parse({"role": "user", "content": content}) for content in ("hi", [{"type": "text", "text": "hi"}])
    )
    assert as_string == as_part and as_string.parts == ["hi"]


def test_role_emotion_and_speaker_are_kept():
    turn = parse({"role": "assistant", "content": "hi", "emotion": "sad", "speaker": "Ross"})
    assert (turn.role, turn.emotion, turn.speaker) == ("assistant", "sad", "Ross")


def test_parts_keep_their_order_and_neighbouring_texts_become_one():
    texts = [{"type": "text", "text": text} for text in ("a", "b", "c")]
    turn = parse({"role": "user", "content": [*texts[:2], {"type": "audio", "path": "x.wav"}, texts[2]]})
    assert turn.parts == ["ab", MediaPart("audio", "x.wav"), "c"]
    assert turn.text == "ab c" and turn.clips == [MediaPart("audio", "x.wav")]


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("key", ["path", "url", "bytes", None])
def test_a_clip_may_stand_under_each_key(kind, key):
    assert part(type=kind, **{key or kind: "source"}) == MediaPart(kind, "source")


def test_keys_that_arrow_filled_with_none_count_as_absent():
    nothing = dict.fromkeys(["audio", "video", "path", "url", "bytes", "sampling_rate"])
    content = [{"type": "text", "text": "hi", **nothing}, {"type": "video", "text": None, **nothing, "path": "x.mp4"}]
    turn = parse({"role": "user", "content": content, "emotion": None, "speaker": None, "tool_calls": None})
    assert turn.parts == ["hi", MediaPart("video", "x.mp4")]


def test_what_datasets_gives_for_a_sound():
    array = np.zeros(8)
    decoded = part(type="audio", audio={"path": "x.wav", "array": array, "sampling_rate": 8000}, sampling_rate=5)
    assert decoded.source is array and decoded.sampling_rate == 8000
    assert part(type="audio", audio={"bytes": b"RIFF", "path": "x.wav"}).source == b"RIFF"
    assert part(type="audio", audio={"bytes": None, "path": "x.wav"}).source == "x.wav"


def test_a_video_may_bring_other_sound():
    sound = {"array": np.zeros(8), "sampling_rate": 8000}
    clip = part(type="video", path="x.mp4", audio=sound)
    assert clip.source == "x.mp4" and clip.sound is sound["array"] and clip.sampling_rate == 8000


def test_one_conversation_and_a_list_of_them_are_told_apart():
    message = {"role": "user", "content": "hi"}
    assert is_conversation([message]) and is_conversation([]) and is_conversation((message,))
    assert not is_conversation([[message]]) and not is_conversation([[], [message]]) and not is_conversation([None])
    assert [len(turns) for turns in parse_conversations([[message], None, []], LABELS, may_be_empty=True)] == [1, 0, 0]


def test_keys_that_nothing_reads_are_said(monkeypatch):
    said = []
    messages_empathav.logger.warning_once.cache_clear()
    monkeypatch.setattr(messages_empathav.logger, "warning", lambda message, *args: said.append(message))
    for _ in range(2):
        parse({"role": "user", "content": "hi", "name": "Ross", "emotions": "sad"})
    assert len(said) == 1 and "'name', 'emotions' is left out" in said[0]


# What is refused


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("hi", "Message 1 is of type str: give a dictionary"),
        ({"content": "hi"}, "unknown role None: use one of system, user, assistant"),
        ({"role": "User", "content": "hi"}, "unknown role 'User'"),
        ({"role": "user", "content": "hi", "emotion": "bored"}, "unknown emotion 'bored': use one of happy, sad"),
        ({"role": "user", "content": "hi", "emotion": 1}, "unknown emotion 1"),
        ({"role": {"a": 1}, "content": "hi"}, "unknown role of type dict"),
        ({"role": "\ud800", "content": "hi"}, r"unknown role '.ud800'"),
        ({"role": "x" * 10_000, "content": "hi"}, "unknown role 'x{60}...'"),
        ({"role": 10**5000, "content": "hi"}, "unknown role of type int"),
        ({"role": NESTED, "content": "hi"}, "unknown role of type list"),
        ({"role": "user", "content": "hi", "emotion": ["sad"]}, "unknown emotion of type list"),
        ({"role": "user", "content": "hi", "speaker": "\ud800"}, "a speaker that is not valid Unicode"),
        ({"role": "user", "content": "\udfff"}, "text that is not valid Unicode"),
        ({"role": "user", "content": NESTED}, "part of Python type list"),
        ({"role": "user", "content": [{"type": {"a": 1}, "text": "x"}]}, "unknown type of type dict"),
        ({"role": "user", "content": [{"type": ["text"], "text": "x"}]}, "unknown type of type list"),
        ({"role": "user", "content": [{"type": "\x1b[31m"}]}, r"unknown type '.x1b\[31m'"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "\x1b": 1}]}, r"with '.x1b'"),
        ({"role": "user", "content": [{"type": "audio", "path": "\ud800.wav"}]}, "a name that no file can have"),
        ({"role": "user", "content": [{"type": "audio", "audio": {"path": "a\0.wav"}}]}, "a name that no file can"),
        ({"role": "user", "content": "hi", "speaker": 3}, "speaker of type int"),
        ({"role": "user"}, "content of type NoneType"),
        ({"role": "user", "content": None}, "content of type NoneType"),
        ({"role": "user", "content": b"hi"}, "content of type bytes"),
        ({"role": "user", "content": {"type": "text", "text": "hi"}}, "content of type dict"),
        ({"role": "user", "content": ["hi"]}, "part of Python type str"),
        ({"role": "user", "content": [{"text": "hi"}]}, "unknown type None"),
        ({"role": "user", "content": [{"type": "image", "path": "x.png"}]}, "unknown type 'image': use 'text'"),
        ({"role": "user", "content": [{"type": "text"}]}, "without a string under 'text'"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "without a string under 'text'"),
        ({"role": "user", "content": [{"type": "text", "text": "hi", "path": "x.mp4"}]}, "type 'text' with 'path'"),
        ({"role": "user", "content": [{"type": "video", "path": "x.mp4", "text": "hi"}]}, "type 'video' with 'text'"),
        ({"role": "user", "content": [{"type": "video", "path": "x.mp4", "fps": 3}]}, "with 'fps', which is not read"),
        ({"role": "user", "content": [{"type": "audio", "path": None}]}, "'audio' with 0 sources"),
        ({"role": "user", "content": [{"type": "video", "path": "x", "bytes": b"x"}]}, "'video' with 2 sources"),
        (
            {"role": "user", "content": [{"type": "audio", "audio": {"text": "x"}}]},
            "^Message 1 has a clip with the keys 'text': give one of",
        ),
        ({"role": "user", "content": [{"type": "audio", "audio": {}}]}, "^Message 1 has a clip with the keys -: give"),
        ({"role": "system", "content": [{"type": "audio", "path": "x"}]}, "system message with a clip"),
    ],
)
def test_a_message_that_is_not_understood(message, reason):
    with pytest.raises(ValueError, match=reason) as error:
        parse(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("conversation", [[], (), None, "hi", {"role": "user", "content": "hi"}, 3])
def test_what_is_no_conversation(conversation):
    with pytest.raises(ValueError, match=r"list of messages such as|conversation is empty"):
        parse_conversations(conversation, LABELS)


def test_an_error_names_the_message_and_in_a_batch_the_conversation():
    good, bad = {"role": "user", "content": "hi"}, {"role": "me", "content": "hi"}
    with pytest.raises(ValueError, match="^Message 2 has the unknown role 'me'"):
        parse_conversations([good, bad], LABELS)
    with pytest.raises(ValueError, match="^Conversation 2: Message 1 has"):
        parse_conversations([[good], [bad]], LABELS)
    with pytest.raises(ValueError, match="^Conversation 2: The conversation is empty"):
        parse_conversations([[good], []], LABELS)


# Sounds and videos of a direct call


def test_streams_are_paired_by_place():
    video, video_with_sound, sound = pair_streams(["a", "b", None], [None, "c", "d"], 8000)
    assert video == MediaPart("video", "a", None, 8000)
    assert video_with_sound == MediaPart("video", "b", "c", 8000)
    assert sound == MediaPart("audio", "d", None, 8000)


@pytest.mark.parametrize("clips", ["a", ["a"], ("a",)])
def test_a_single_clip_needs_no_list(clips):
    assert pair_streams(clips, None, None) == [MediaPart("video", "a")]
    assert pair_streams(None, clips, None) == [MediaPart("audio", "a")]


def test_streams_that_do_not_pair():
    with pytest.raises(ValueError, match="2 videos and 1 sounds"):
        pair_streams(["a", "b"], ["c"], None)
    with pytest.raises(ValueError, match="neither sound nor frames"):
        pair_streams(["a", None], ["b", None], None)


# The escape


@pytest.mark.parametrize(
    "text", ["<|av|>", "a<|av|>b", "<|av|><|av|>", "<|av<|av|>|>", "<<|av|>", "<|av|>>x", "\n<|av|>\u200b"]
)
def test_no_control_token_is_left(text):
    escaped = ControlTokenEscape(["<|av|>", "<|av|>>", "<s>"])(text)
    assert "<|av|>" not in escaped and escaped.replace(" ", "") == text


@pytest.mark.parametrize("text", ["", "a < b", "<|av |>", "| av |", "x<y>z"])
def test_other_text_stays_as_it_is(text):
    assert ControlTokenEscape(["<|av|>", "", "x"])(text) == text
    assert ControlTokenEscape([])(text) == text
