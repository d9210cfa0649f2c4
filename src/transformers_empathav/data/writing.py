"""Replies under every emotion, row by row, on disk as soon as they are written."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from tqdm import tqdm

from .replies import bracketed


class Journal:
    r"""
    JSON lines of finished rows, one file a process, only ever appended to and synced to the disk.

    Args:
        folder (`str` or `os.PathLike`): Where the files lie.
        settings (`dict`): What the rows depend on; rows that were written under others are refused.
        process_index (`int`): Which file is appended to.

    Raises:
        `ValueError`: the folder has rows of other settings, or a line that is no row.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict, process_index: int = 0):
        self.folder, self.path = Path(folder), Path(folder) / f"rows-{process_index:05d}.jsonl"
        self.settings = json.loads(json.dumps(settings))

    def open(self):
        """Makes the folder or checks its settings, and drops what a killed process left of its last line."""
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
        """The replies of every finished row, by its id."""
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
        """Adds rows; when this returns, they outlive the process and the machine."""
        with open(self.path, "ab") as stream:
            stream.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
            stream.flush()
            os.fsync(stream.fileno())


def seed_of(seed: int, row: str, emotion: str) -> int:
    """A seed of 31 bits for each reply, whatever is written before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {row} {emotion}".encode()).digest()[:4], "big") >> 1


def write_replies(
    engine,
    rows: Sequence[dict],
    journal: Journal,
    emotions: Sequence[str],
    rows_per_batch: int = 1,
    seed: int = 0,
    system_prompt: str | None = None,
    process_index: int = 0,
    num_processes: int = 1,
):
    r"""
    Writes a reply under each emotion to the prompt of each row that the journal does not hold.

    A batch is the same rows whatever was finished before, so that a resumed run writes what an uninterrupted one would
    have written: an engine in this process draws the replies of a batch together. Of a batch that was finished in
    part, only the missing rows are added.

    Args:
        engine: [`TransformersEngine`] or [`ServerEngine`].
        rows (`Sequence[dict]`): With `id` and `prompt`; the same ones in the same order each time.
        journal ([`Journal`]): Opened.
        emotions (`Sequence[str]`): What the prompts are bracketed with.
        rows_per_batch (`int`): Rows that an engine is given at once.
        system_prompt (`str`, *optional*): Goes before every prompt.
        process_index, num_processes (`int`): This process takes every `num_processes`-th batch.
    """
    batches = [rows[start : start + rows_per_batch] for start in range(0, len(rows), rows_per_batch)]
    batches = batches[process_index::num_processes]
    done = journal.rows()
    finished = sum(row["id"] in done for batch in batches for row in batch)
    left = [batch for batch in batches if any(row["id"] not in done for row in batch)]
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []

    def write(batch: Sequence[dict]) -> list[dict]:
        asked = [(row, emotion) for row in batch for emotion in emotions]
        prompts = [system + bracketed(row["prompt"], emotion) for row, emotion in asked]
        try:
            written = engine.write(prompts, [seed_of(seed, row["id"], emotion) for row, emotion in asked])
        except ValueError as error:
            raise ValueError(f"{', '.join(row['id'] for row in batch)}: {error}") from error
        replies = {row["id"]: [] for row in batch}
        for (row, emotion), reply in zip(asked, written):
            replies[row["id"]].append({"emotion": emotion, "text": reply.text, "finish_reason": reply.finish_reason})
        return [{"id": name, "replies": found} for name, found in replies.items() if name not in done]

    progress = tqdm(
        total=sum(map(len, batches)), initial=finished, unit="row", desc="writing", disable=process_index > 0
    )
    with progress, ThreadPoolExecutor(engine.concurrency) as pool:
        try:
            for found in as_finished(pool, write, left, 2 * engine.concurrency):
                journal.append(found)
                progress.update(len(found))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def as_finished(pool: ThreadPoolExecutor, function, items: Sequence, ahead: int) -> Iterator:
    """
    What `function` gives for each item, as soon as it is there; `ahead` items are begun or waiting at a time. After an
    error nothing new is begun, what is under way is finished and given, and the error is raised at the end.
    """
    waiting, running, error = iter(items), [], None
    while True:
        while error is None and len(running) < ahead and (item := next(waiting, None)) is not None:
            running.append(pool.submit(function, item))
        if not running:
            break
        finished = wait(running, return_when=FIRST_COMPLETED).done
        for future in [future for future in running if future in finished]:  # in the order in which they were begun
            running.remove(future)
            if future.exception() is None:
                yield future.result()
            else:
                error = error or future.exception()
    if error is not None:
        raise error
