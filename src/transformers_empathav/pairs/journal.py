"""Written rows on disk, as JSON lines that survive a kill."""

import json
import os
from collections.abc import Sequence
from pathlib import Path


class Journal:
    r"""
    Finished rows as JSON lines, one file a process. Lines are only appended, and synced to the disk.

    Call [`Journal.open`] once, in one process, before reading or appending.

    Args:
        folder (`str` or `os.PathLike`): Where the files lie.
        settings (`dict`): What the rows depend on, as JSON.
        process_index (`int`, *optional*, defaults to 0): Number of the file to append to.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict, process_index: int = 0):
        self.folder, self.path = Path(folder), Path(folder) / f"rows-{process_index:05d}.jsonl"
        self.settings = json.loads(json.dumps(settings))

    def open(self):
        """
        Makes the folder, or checks its settings and removes unfinished last lines.

        Raises:
            `ValueError`: the folder has rows that were written under other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "settings.json"
        if path.is_file():
            there = json.loads(path.read_text(encoding="utf-8"))
            changed = [
                f"{key} was {there.get(key)!r} and is now {self.settings.get(key)!r}"
                for key in sorted(there.keys() | self.settings.keys())
                if there.get(key) != self.settings.get(key)
            ]
            if changed:
                raise ValueError(
                    f"{self.folder} holds replies that were written otherwise: {'; '.join(changed)}. Take another "
                    "--output_dir, or the same settings to go on."
                )
        else:
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(self.settings, indent=1), encoding="utf-8")
            os.replace(partial, path)
        for file in self.folder.glob("rows-*.jsonl"):
            content = file.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                with open(file, "r+b") as stream:
                    stream.truncate(whole)

    def rows(self) -> dict[str, list[dict]]:
        """
        The replies of every finished row, by its id.

        Raises:
            `ValueError`: a line is no row; names it.
        """
        found = {}
        for file in sorted(self.folder.glob("rows-*.jsonl")):
            for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], 1):
                try:
                    row = json.loads(line)
                    found[row["id"]] = row["replies"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"{file}, line {number} is no row ({error!r}): delete the line, and it is written again."
                    ) from None
        return found

    def append(self, rows: Sequence[dict]):
        """Appends rows. When this returns, they are on the disk."""
        with open(self.path, "ab") as stream:
            stream.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
            stream.flush()
            os.fsync(stream.fileno())
