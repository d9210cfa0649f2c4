"""Validates messages as users write them and converts them to turns."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformers.utils import logging

from .openai_parts_empathav import OPENAI_TYPES, from_openai, is_data_uri, read_data_uri


logger = logging.get_logger(__name__)

ROLES = ("system", "user", "assistant")
MESSAGE_KEYS = ("role", "content", "emotion", "speaker")
# Keys that may hold the source of a part, as in Hugging Face's own messages.
SOURCE_KEYS = {"audio": ("audio", "url", "path", "bytes"), "video": ("video", "url", "path", "bytes")}
PART_KEYS = {
    "text": ("type", "text"),
    "audio": ("type", *SOURCE_KEYS["audio"], "sampling_rate"),
    "video": ("type", *SOURCE_KEYS["video"], "audio", "sampling_rate"),
}


@dataclass
class MediaPart:
    """
    A clip in a message.

    Args:
        kind (`str`): `"audio"` or `"video"`.
        source: Anything that [`load_clip`] reads.
        sound (*optional*): Source of sound in place of a video's own.
        sampling_rate (`int`, *optional*): Sampling rate of sound given as an array, in Hz.
    """

    kind: str
    source: object
    sound: object = None
    sampling_rate: int | None = None


@dataclass
class Turn:
    """A validated message. `parts` are strings and [`MediaPart`]s in reading order; errors call the message `name`."""

    role: str
    parts: list[str | MediaPart] = field(default_factory=list)
    emotion: str | None = None
    speaker: str | None = None
    name: str = "The message"

    @property
    def text(self) -> str:
        """The text parts, joined by spaces."""
        return " ".join(part for part in self.parts if isinstance(part, str) and part)

    @property
    def clips(self) -> list[MediaPart]:
        """The clips in reading order."""
        return [part for part in self.parts if isinstance(part, MediaPart)]


def is_conversation(value) -> bool:
    """Whether `value` is one conversation (a list of messages), not a list of conversations."""
    return isinstance(value, Sequence) and (not value or isinstance(value[0], Mapping))


def parse_messages(
    messages: Sequence[Mapping], emotion_labels: Sequence[str], row: int | None = None, may_be_empty: bool = False
) -> list[Turn]:
    r"""
    Validates a conversation and converts it to turns.

    Args:
        messages (`list[dict]`):
            `{"role", "content", "emotion"?, "speaker"?}` with `content` a string or a list of parts. Parts are
            `{"type": "text", "text"}` or `{"type": "audio" | "video", "path" | "url" | "bytes" | "audio" | "video"}`.
            A video part may hold separate sound under `"audio"`. OpenAI's `input_audio`, `image_url`, `audio_url` and
            `video_url` are taken too, and so are data URIs as sources. Keys whose value is `None` count as absent,
            since Arrow fills them in.
        emotion_labels (`list[str]`): The emotions that a message may carry.
        row (`int`, *optional*): Number of the conversation in its batch, for errors.
        may_be_empty (`bool`, *optional*, defaults to `False`):
            Whether `None` or a conversation without messages is accepted.

    Raises:
        `ValueError`: If a message is not valid. The error names the message, what is wrong and what is accepted.
    """
    if may_be_empty and (messages is None or isinstance(messages, Sequence) and not messages):
        return []
    prefix = "" if row is None else f"Conversation {row}: "
    example = "{'role': 'user', 'content': 'Hello'}"
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise ValueError(
            f"{prefix}A conversation is a list of messages such as {example}, not a {type(messages).__name__}."
        )
    if not messages:
        raise ValueError(f"{prefix}The conversation is empty: give at least one message such as {example}.")
    names = [f"{prefix}Message {index}" for index in range(1, len(messages) + 1)]
    return [parse_message(message, name, emotion_labels) for message, name in zip(messages, names)]


def parse_conversations(value, emotion_labels: Sequence[str], may_be_empty: bool = False) -> list[list[Turn]]:
    """[`parse_messages`] for one conversation or a list of them; always returns a list of conversations."""
    if is_conversation(value) or isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return [parse_messages(value, emotion_labels, may_be_empty=may_be_empty)]
    return [parse_messages(messages, emotion_labels, row, may_be_empty) for row, messages in enumerate(value, 1)]


def parse_message(message: Mapping, name: str, emotion_labels: Sequence[str]) -> Turn:
    """Validates one message, called `name` in errors."""
    if not isinstance(message, Mapping):
        raise ValueError(f"{name} is of type {type(message).__name__}: give a dictionary with 'role' and 'content'.")
    role, emotion, speaker = (message.get(key) for key in ("role", "emotion", "speaker"))
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(f"{name} has the unknown role {shown(role)}: use one of {', '.join(ROLES)}.")
    if emotion is not None and not (isinstance(emotion, str) and emotion in emotion_labels):
        raise ValueError(f"{name} has the unknown emotion {shown(emotion)}: use one of {', '.join(emotion_labels)}.")
    if speaker is not None and not isinstance(speaker, str):
        raise ValueError(f"{name} has a speaker of type {type(speaker).__name__}: give a name as a string.")
    if speaker is not None:
        check_unicode(speaker, f"{name} has a speaker")
    if unread := unread_keys(message, MESSAGE_KEYS):
        logger.warning_once(f"Only {', '.join(MESSAGE_KEYS)} of a message are read; {unread} is left out.")
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    elif isinstance(content, bytes) or not isinstance(content, Sequence):
        raise ValueError(f"{name} has content of type {type(content).__name__}: give a string or a list of parts.")
    turn = Turn(role, [], emotion, speaker, name)
    for part in content:
        part = parse_part(part, name)
        if turn.parts and isinstance(part, str) and isinstance(turn.parts[-1], str):
            turn.parts[-1] += part  # joined, so that a control token split over two parts is escaped too
        else:
            turn.parts.append(part)
    if role == "system" and turn.clips:
        raise ValueError(f"{name} is a system message with a clip: put the clip into a message of the user.")
    return turn


def parse_part(part: Mapping, name: str) -> str | MediaPart:
    """Validates one part of the message that errors call `name`."""
    if not isinstance(part, Mapping):
        raise ValueError(
            f"{name} has a part of Python type {type(part).__name__}: give {{'type': 'text', 'text': ...}} or a clip."
        )
    kind = part.get("type")
    if isinstance(kind, str) and kind in OPENAI_TYPES:
        part = from_openai(part, name)
        kind = part["type"]
    if not isinstance(kind, str) or kind not in PART_KEYS:
        raise ValueError(f"{name} has a part of the unknown type {shown(kind)}: use 'text', 'audio' or 'video'.")
    if unread := unread_keys(part, PART_KEYS[kind]):
        raise ValueError(f"{name} has a part of type {kind!r} with {unread}, which is not read there: leave it out.")
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise ValueError(f"{name} has a text part without a string under 'text'.")
        check_unicode(part["text"], f"{name} has text")
        return part["text"]
    sources = [part[key] for key in SOURCE_KEYS[kind] if part.get(key) is not None]
    if len(sources) != 1:
        raise ValueError(
            f"{name} has a part of type {kind!r} with {len(sources)} sources: give exactly one of "
            f"{', '.join(SOURCE_KEYS[kind])}."
        )
    sound = part.get("audio") if kind == "video" else None
    clip = media_part(kind, sources[0], sound, part.get("sampling_rate"), name)
    for source in (clip.source, clip.sound):
        if isinstance(source, str) and not is_file_name(source):
            raise ValueError(f"{name} has a clip with a name that no file can have: check its encoding.")
    return clip


def is_file_name(text: str) -> bool:
    """Whether a file may have this name; half a surrogate pair stands for no byte of one."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def media_part(kind: str, source, sound=None, sampling_rate: int | None = None, name: str = "The call") -> MediaPart:
    """Makes a [`MediaPart`]; source and sound may be dictionaries as `datasets` decodes them."""
    source, source_rate = unwrap(source, name)
    sound, sound_rate = unwrap(sound, name)
    return MediaPart(kind, source, sound, sound_rate or source_rate or sampling_rate)


def unwrap(source, name: str = "The source") -> tuple:
    """
    Takes source (array, bytes or path) and sampling rate out of a dictionary of `datasets`, and bytes out of a data
    URI; others stay as they are.
    """
    rate = None
    if isinstance(source, Mapping):
        key = next((key for key in ("array", "bytes", "path") if source.get(key) is not None), None)
        if key is None:
            keys = ", ".join(map(shown, list(source)[:5]))
            raise ValueError(f"{name} has a clip with the keys {keys or '-'}: give one of 'array', 'bytes' or 'path'.")
        source, rate = source[key], source.get("sampling_rate")
    if isinstance(source, str) and is_data_uri(source):
        source = read_data_uri(source, name)
    return source, rate


def pair_streams(videos, audio, sampling_rate: int | None) -> list[MediaPart]:
    """Pairs `videos` and `audio` to clips: lists with one entry per clip, or a single source for a single clip."""
    videos, audio = (
        list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
        for given in (videos, audio)
    )
    if videos and audio and len(videos) != len(audio):
        raise ValueError(
            f"{len(videos)} videos and {len(audio)} sounds were given: give one of each per clip, None if it has none."
        )
    parts = []
    for video, sound in zip(videos or [None] * len(audio), audio or [None] * len(videos)):
        if video is None and sound is None:
            raise ValueError("A clip has neither sound nor frames: leave it out together with its place in the text.")
        kind, source, other = ("audio", sound, None) if video is None else ("video", video, sound)
        parts.append(media_part(kind, source, other, sampling_rate))
    return parts


def unread_keys(value: Mapping, known: Sequence[str]) -> str:
    """The keys of `value` that are not `known`, quoted, for a message."""
    return ", ".join(shown(key) for key, item in value.items() if item is not None and key not in known)


def check_unicode(text: str, what: str):
    """Raises a `ValueError` if a text holds half of a surrogate pair, which cannot be written in UTF-8."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{what} that is not valid Unicode: check its encoding, which should be UTF-8.")


def shown(value) -> str:
    """A value as errors quote it: strings and small numbers short and in one line, others by their type."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}...")
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**20):
        return repr(value)
    return f"of type {type(value).__name__}"


class ControlTokenEscape:
    """
    Escapes special tokens in user text by a space after their first character, so that they are tokenized as plain
    text.

    Args:
        tokens (`list[str]`): The special tokens of the tokenizer.
    """

    def __init__(self, tokens: Sequence[str]):
        longest_first = sorted({token for token in tokens if len(token) > 1}, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
