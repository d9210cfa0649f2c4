"""Messages as users write them, checked and brought to one form."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field


ROLES = ("system", "user", "assistant")
# Where a part may keep its source, in the order of Hugging Face's own messages.
SOURCE_KEYS = {"audio": ("audio", "url", "path", "bytes"), "video": ("video", "url", "path", "bytes")}


@dataclass
class MediaPart:
    """A clip of a message: `kind` is "audio" or "video", `source` whatever the decoder reads."""

    kind: str
    source: object
    sampling_rate: int | None = None


@dataclass
class Turn:
    """One checked message; `parts` are strings and [`MediaPart`]s in reading order."""

    role: str
    parts: list[str | MediaPart] = field(default_factory=list)
    emotion: str | None = None
    speaker: str | None = None

    @property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str) and part)

    @property
    def clips(self) -> list[MediaPart]:
        return [part for part in self.parts if isinstance(part, MediaPart)]


def parse_messages(messages: Sequence[dict], emotion_labels: Sequence[str]) -> list[Turn]:
    r"""
    Checks a conversation.

    Args:
        messages (`list[dict]`):
            `{"role", "content", "emotion"?, "speaker"?}` with `content` a string or a list of parts `{"type": "text",
            "text"}`, `{"type": "audio" | "video", "path" | "url" | "bytes" | "audio" | "video"}`. Keys whose value is
            `None` count as absent, since Arrow fills them in.
        emotion_labels (`list[str]`): The emotions that a message may carry.

    Raises:
        `ValueError`: names the message, what is wrong with it, and what is accepted.
    """
    if isinstance(messages, str | bytes | dict) or not isinstance(messages, Sequence):
        raise ValueError("A conversation is a list of messages such as {'role': 'user', 'content': 'Hello'}.")
    if not messages:
        raise ValueError("The conversation is empty: give at least one message such as {'role': 'user', 'content': 'Hello'}.")
    return [parse_message(message, f"Message {index}", emotion_labels) for index, message in enumerate(messages, 1)]


def parse_message(message: dict, name: str, emotion_labels: Sequence[str]) -> Turn:
    """Checks one message, called `name` in errors."""
    if not isinstance(message, dict):
        raise ValueError(f"{name} is {type(message).__name__}, not a dictionary with 'role' and 'content'.")
    role, emotion = message.get("role"), message.get("emotion")
    if role not in ROLES:
        raise ValueError(f"{name} has the unknown role {role!r}: use one of {', '.join(ROLES)}.")
    if emotion is not None and emotion not in emotion_labels:
        raise ValueError(f"{name} has the unknown emotion {emotion!r}: use one of {', '.join(emotion_labels)}.")
    content = message.get("content")
    if isinstance(content, str):
        parts: list[str | MediaPart] = [content]
    elif isinstance(content, Sequence) and not isinstance(content, bytes):
        parts = [parse_part(part, name) for part in content]
    else:
        raise ValueError(f"{name} has content of type {type(content).__name__}: give a string or a list of parts.")
    return Turn(role, parts, emotion, message.get("speaker"))


def parse_part(part: dict, name: str) -> str | MediaPart:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise ValueError(f"{name} has a text part without a string under 'text'.")
        return part["text"]
    if kind not in SOURCE_KEYS:
        raise ValueError(f"{name} has a part of the unknown type {kind!r}: use 'text', 'audio' or 'video'.")
    sources = [part[key] for key in SOURCE_KEYS[kind] if part.get(key) is not None]
    if len(sources) != 1:
        raise ValueError(
            f"{name} has a part of type {kind!r} with {len(sources)} sources: give exactly one of "
            f"{', '.join(SOURCE_KEYS[kind])}."
        )
    source, sampling_rate = sources[0], part.get("sampling_rate")
    if isinstance(source, dict) and source.get("array") is not None:  # what `datasets` decodes
        source, sampling_rate = source["array"], source.get("sampling_rate", sampling_rate)
    return MediaPart(kind, source, sampling_rate)


class ControlTokenEscape:
    """
    Keeps what a person writes from being read as a control token: a space goes after its first character.

    Args:
        tokens (`list[str]`): The special tokens of the tokenizer.
    """

    def __init__(self, tokens: Sequence[str]):
        longest_first = sorted({token for token in tokens if token}, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
