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


def read_memory(path: Path) -> tuple[dict[str, torch.Tensor], dict, str]:
    r"""
    Reads a memory file and checks all of it.

    Args:
        path (`Path`): The file.

    Returns:
        `tuple`: its tensors, its `SETTINGS`, and the SHA-256 of the file.

    Raises:
        `FileNotFoundError`: If there is no such file.
        `ValueError`: If it is damaged, inconsistent or of another format.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No memory at {path}: give a directory that ConversationMemory.save_pretrained wrote."
        )
    try:
        data = path.read_bytes()
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    except OSError:
        raise
    except Exception as error:  # safetensors and torch raise many, such as OverflowError for a shape, or MemoryError
        raise ValueError(f"{path} is damaged ({one_line(error)}): compress the conversation again.") from error
    version = metadata.get("format_version", "unknown")
    if version not in READABLE:
        raise ValueError(
            f"{path} has memory format {ascii(version)[1:-1]:.20}, and this version reads {' and '.join(READABLE)}: "
            "compress the conversation again."
        )
    try:
        missing = [name for name in DTYPES if name not in tensors]
        if missing := missing + [name for name in SETTINGS if name not in metadata]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        if unknown := [ascii(name) for name in tensors if name not in DTYPES]:
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
        raise ValueError(f"{path} is damaged ({one_line(error)}): compress the conversation again.") from error
    return tensors, settings, hashlib.sha256(data).hexdigest()


def write_memory(
    path: Path, tensors: dict[str, torch.Tensor], settings: dict, known: str | None, must_be_new: bool
) -> str:
    r"""
    Writes a memory file. Writers take turns, and none replaces what it has not seen.

    Args:
        path (`Path`): The file.
        tensors (`dict[str, torch.Tensor]`): As [`read_memory`] returns them.
        settings (`dict`): As [`read_memory`] returns them.
        known (`str`, *optional*): SHA-256 of the file as it was read or written last; `None` if it never was.
        must_be_new (`bool`): Whether a file that was never read is refused, too, and not replaced with a warning.

    Returns:
        `str`: the SHA-256 of the new file.

    Raises:
        `ValueError`: If the file has changed since, or `must_be_new` and there is one. It stays.
        `OSError`: If it cannot be written. The old file stays.
    """
    metadata = {name: str(settings[name] or "") for name in SETTINGS}
    metadata |= {"format_version": FORMAT_VERSION}
    data = save(tensors, metadata | {"checksum": checksum(tensors, metadata)})

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
    digest = hashlib.sha256(json.dumps([metadata.get(name) for name in ("format_version", *SETTINGS)]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def number(metadata: dict[str, str], name: str) -> int:
    """A count in the metadata, which holds strings alone."""
    if not re.fullmatch("[0-9]{1,10}", metadata[name]):
        raise ValueError(f"{name} is {metadata[name][:20]!r}, not a number")
    return int(metadata[name])


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
