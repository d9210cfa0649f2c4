"""A cache on disk by content: what was computed once is not computed again. A kill loses one line at most."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm


def content_key(*parts) -> str:
    """Digest of strings, numbers, lists, dicts, arrays and tensors; the same for the same content."""
    digest = hashlib.sha256()
    for part in parts:
        add_content(digest, part)
    return digest.hexdigest()


def add_content(digest, part):
    """Adds a value to a digest, with its type and shape."""
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

    A last line that a kill has torn is removed. A key that is added again keeps its first value.

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

    def values_of(
        self,
        keys: Sequence[str],
        lengths: Sequence[int],
        compute: Callable[[list[int]], list],
        batch_size: int,
        label: str,
    ) -> list:
        r"""
        The value of each key, computed in batches where it is missing.

        Batches are made of all rows, sorted by length, whatever the cache holds. In half precision a value may depend
        on its neighbours, and so an interrupted run computes what an uninterrupted one computes.

        Args:
            keys (`Sequence[str]`): Of [`content_key`], one a row.
            lengths (`Sequence[int]`): Of the rows.
            compute (`Callable`): Indices of rows to their values.
            batch_size (`int`): Rows at once.
            label (`str`): What the progress bar says.
        """
        order = sorted(range(len(keys)), key=lambda row: (lengths[row], keys[row]))
        with tqdm(total=len(keys), desc=label, mininterval=1.0) as progress:
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                if any(keys[row] not in self for row in rows):
                    self.add({keys[row]: value for row, value in zip(rows, compute(rows))})
                progress.update(len(rows))
        return [self[key] for key in keys]

    def add(self, values: dict):
        """Adds what is not there yet. When this returns, it is on the disk."""
        new = {key: value for key, value in values.items() if key not in self.values}
        if new:
            with open(self.path, "ab") as file:
                for key, value in new.items():
                    file.write(json.dumps({"key": key, "value": value}, allow_nan=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self.values |= new
