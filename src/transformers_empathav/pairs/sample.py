"""Candidates: a reply under every emotion to each context, row by row."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from tqdm import tqdm

from ..data.replies import bracketed
from .journal import Journal


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
