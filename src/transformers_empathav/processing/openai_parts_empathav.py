"""Content parts as OpenAI's clients write them, and media in data URIs."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from transformers.utils import logging


logger = logging.get_logger(__name__)

# Type of each part, which is also the key of its content, and the type of ours that it becomes. A photo is a video of
# one frame.
OPENAI_TYPES = {"input_audio": "audio", "audio_url": "audio", "image_url": "video", "video_url": "video"}
MAX_ESCAPES = 1_000_000
READ_KEYS = {"input_audio": ("data", "format")}  # of the content; "format" is told by the bytes themselves


def from_openai(part: Mapping, name: str) -> dict:
    r"""
    A part `{"type": "image_url", "image_url": {"url": ...}}`, or of another of `OPENAI_TYPES`, as one of ours.

    Args:
        part (`dict`): The part.
        name (`str`): What errors call its message.

    Returns:
        `dict`: `{"type", "bytes"}` of base64, else `{"type", "url"}`.

    Raises:
        `ValueError`: If the part does not hold what its type says.
    """
    kind = part["type"]
    content, key = part.get(kind), "data" if kind == "input_audio" else "url"
    if isinstance(content, str) and kind != "input_audio":
        content = {"url": content}
    if not isinstance(content, Mapping) or not isinstance(content.get(key), str):
        example = f"{{'type': '{kind}', '{kind}': {{'{key}': ...}}}}"
        raise ValueError(f"{name} has a part of type {kind!r} without a string under {key!r}: give {example}.")
    extra = [other for other, value in part.items() if other not in ("type", kind) and value is not None]
    if extra:
        raise ValueError(f"{name} has a part of type {kind!r} with {extra[0]!r:.60}, which is not read: leave it out.")
    unread = [other for other, value in content.items() if value is not None]
    if unread := [other for other in unread if other not in READ_KEYS.get(kind, ("url",))]:
        logger.warning_once(f"Only {key!r} of a part of type {kind!r} is read; {unread[0]!r:.60} is left out.")
    written = content[key].strip()
    if kind == "input_audio" and not is_data_uri(written):  # some clients write a data URI there, too
        return {"type": "audio", "bytes": decode_base64(written, name)}
    return {"type": OPENAI_TYPES[kind], "url": written}


def is_data_uri(text: str) -> bool:
    """Whether a text is a data URI and no path or address."""
    return text[:5].lower() == "data:"


def read_data_uri(uri: str, name: str) -> bytes:
    """
    The bytes of a data URI (RFC 2397), `data:audio/wav;base64,...`.

    Raises:
        `ValueError`: If it is none, its base64 is not valid, or more than a million of its bytes are percent-encoded.
    """
    header, comma, data = uri.partition(",")
    if not comma or not uri.isascii():
        raise ValueError(f"{name} has a clip that is no data URI: give data:audio/wav;base64,... or the like.")
    if (escapes := data.count("%")) > MAX_ESCAPES:  # they are slow to read
        raise ValueError(f"{name} has a data URI with {escapes} percent-encoded bytes: give base64 instead.")
    if header.lower().endswith(";base64"):
        return decode_base64(unquote_to_bytes(data), name)
    return unquote_to_bytes(data)


def decode_base64(text: str | bytes, name: str) -> bytes:
    """Bytes out of base64, which may be broken into lines."""
    try:
        text = text if isinstance(text, bytes) else text.encode("ascii")
        return base64.b64decode(text.translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(f"{name} has a clip that is not valid base64: encode the bytes of its file anew.") from None
