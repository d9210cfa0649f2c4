"""The file of a memory: what is in it, how it is checked, and that no writer undoes what another one wrote."""

import hashlib
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load, save
from transformers.utils import logging

from .file_writing_empathav import write_file
from .memory_check_empathav import DTYPES, check_form, check_values


logger = logging.get_logger(__name__)
MEMORY_FILE = "memory.safetensors"
FORMAT_VERSION = "3"
# Format 2 has no checksum, and does not know that an utterance was cut within the name of its role.
READABLE = ("2", FORMAT_VERSION)
SETTINGS = ("vectors_per_utterance", "max_vectors", "fingerprint")


def read_file(path: Path) -> bytes:
    """
    The content of a file of a memory or a conversation.

    Raises:
        `ValueError`: If it is too large to be one.
        `OSError`: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except MemoryError as error:
        raise ValueError(f"{path} is damaged (too large to read): compress the conversation again.") from error


def unpack_memory(data: bytes, name: str) -> tuple[dict[str, torch.Tensor], dict]:
    r"""
    Reads the content of a memory file and checks all of it.

    Args:
        data (`bytes`): The content.
        name (`str`): What errors call it.

    Returns:
        `tuple`: its tensors and its `SETTINGS`.

    Raises:
        `ValueError`: If it is damaged, inconsistent or of another format.
    """
    try:
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    except Exception as error:  # safetensors and torch raise many, such as OverflowError for a shape, or MemoryError
        raise ValueError(f"{name} is damaged ({one_line(error)}): compress the conversation again.") from error
    version = metadata.get("format_version", "unknown")
    if version not in READABLE:
        raise ValueError(
            f"{name} has memory format {ascii(version)[1:-1]:.20}, and this version reads {' and '.join(READABLE)}: "
            "compress the conversation again."
        )
    try:
        missing = [key for key in DTYPES if key not in tensors]
        if missing := missing + [key for key in SETTINGS if key not in metadata]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        if unknown := [ascii(key) for key in tensors if key not in DTYPES]:
            raise ValueError(f"it holds the unknown {', '.join(unknown)}")
        settings = {
            "vectors_per_utterance": number(metadata, "vectors_per_utterance"),
            "max_vectors": number(metadata, "max_vectors") if metadata["max_vectors"] else None,
            "fingerprint": metadata["fingerprint"] or None,
        }
        check_form(tensors, settings["vectors_per_utterance"], settings["max_vectors"])
        check_values(tensors, settings["vectors_per_utterance"])
        if version != "2" and metadata.get("checksum") != checksum(tensors, metadata):
            raise ValueError("its content is not what its checksum says")
    except ValueError as error:
        raise ValueError(f"{name} is damaged ({one_line(error)}): compress the conversation again.") from error
    return tensors, settings


def pack_memory(tensors: dict[str, torch.Tensor], settings: dict) -> bytes:
    """The content of a memory file, which [`unpack_memory`] reads; its values must have been checked."""
    metadata = {name: str(settings[name] or "") for name in SETTINGS}
    metadata |= {"format_version": FORMAT_VERSION}
    return save(tensors, metadata | {"checksum": checksum(tensors, metadata)})


def replace_file(path: Path, data: bytes, known: str | None, must_be_new: bool) -> str:
    r"""
    Writes the file of a memory or a conversation. Writers take turns, and none replaces what it has not seen.

    Args:
        path (`Path`): The file.
        data (`bytes`): Its content.
        known (`str`, *optional*): SHA-256 of the file as it was read or written last; `None` if it never was.
        must_be_new (`bool`): Whether a file that was never read is refused, too, and not replaced with a warning.

    Returns:
        `str`: the SHA-256 of the new file.

    Raises:
        `ValueError`: If the file has changed since, or `must_be_new` and there is one. It stays.
        `OSError`: If it cannot be written. The old file stays.
    """

    def check():
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if found is not None and found != known:
            if known is not None or must_be_new:
                raise ValueError(
                    f"{path} was written by someone else meanwhile, and this memory lacks what was said there: "
                    "nothing was replaced. Read it again and add this exchange, or save to another directory."
                )
            logger.warning(f"{path} is replaced by a memory that was not read from it.")

    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data, check)
    return hashlib.sha256(data).hexdigest()


def checksum(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    """SHA-256 of tensors and settings, in whatever order a file holds them."""
    return digest(json.dumps([metadata.get(name) for name in ("format_version", *SETTINGS)]), tensors)


def digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of a text and of tensors with their names, in whatever order a file holds them."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def number(metadata: dict[str, str], name: str) -> int:
    """A count in the metadata, which holds strings alone."""
    if not re.fullmatch("[0-9]{1,10}", metadata[name]):
        raise ValueError(f"{name} is {metadata[name][:20]!r}, not a number")
    return int(metadata[name])


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
