"""A cache on disk by content: what was computed once is never computed again, and a kill loses one line at most."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch


def content_key(*parts) -> str:
    """Digest of strings, numbers, lists, dicts, arrays and tensors; the same for the same content."""
    digest = hashlib.sha256()
    for part in parts:
        add_content(digest, part)
    return digest.hexdigest()


def add_content(digest, part):
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().contiguous()
        digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
        digest.update(part.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(part, np.ndarray):
        digest.update(f"{part.dtype}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    elif isinstance(part, Mapping):
        digest.update(b"{")
        for name in sorted(part):
            add_content(digest, str(name))
            add_content(digest, part[name])
        digest.update(b"}")
    elif isinstance(part, list | tuple):
        digest.update(b"[")
        for value in part:
            add_content(digest, value)
        digest.update(b"]")
    else:
        digest.update(json.dumps(part).encode() + b"\0")


class ContentCache:
    r"""
    Values of JSON by key, in a file to which lines are only added.

    A last line that a kill has torn is taken off; a key that is added again keeps its first value.

    Args:
        path (`str` or `os.PathLike`): The file, made where it is missing.

    Raises:
        `ValueError`: a line before the last is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self.values = Path(path), {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                item = json.loads(line)
                self.values.setdefault(item["key"], item["value"])
            except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.path}, line {number} is damaged ({error!r}): take that line out, and its value is "
                    "computed again."
                ) from None

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str):
        return self.values[key]

    def __len__(self) -> int:
        return len(self.values)

    def add(self, values: dict):
        """Adds what is not there yet, and returns when it is on the disk."""
        new = {key: value for key, value in values.items() if key not in self.values}
        if new:
            with open(self.path, "ab") as file:
                for key, value in new.items():
                    file.write(json.dumps({"key": key, "value": value}, allow_nan=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self.values |= new
