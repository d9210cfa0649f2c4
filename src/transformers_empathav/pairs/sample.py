"""Candidate replies: a writer answers each context once under every emotion, or some times as it would."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from tqdm import tqdm

from ..data.replies import bracketed
from .journal import Journal


def seed_of(seed: int, row: str, emotion: str) -> int:
    """A 31-bit seed that depends on the run's seed, the row and the emotion alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {row} {emotion}".encode()).digest()[:4], "big") >> 1


def write_replies(
    writer,
    rows: Sequence[dict],
    journal: Journal,
    emotions: Sequence[str] | int,
    rows_per_batch: int = 1,
    seed: int = 0,
    system_prompt: str | None = None,
    process_index: int = 0,
    num_processes: int = 1,
):
    r"""
    Writes a reply under each emotion, or draws some, to each row that the journal lacks. Appends it to the journal.

    Batches are made of all rows, whatever is in the journal: a [`LocalWriter`] draws the replies of a batch together,
    and so a resumed run writes what an uninterrupted one writes. Of a batch that is partly in the journal only the
    missing rows are added.

    Args:
        writer ([`LocalWriter`] or [`RemoteWriter`]): Who writes.
        rows (`Sequence[dict]`): With `id` and `prompt`. To resume, give the same rows in the same order.
        journal ([`Journal`]): An open one.
        emotions (`Sequence[str]` or `int`):
            One reply is written under each; the prompt names it in brackets. Of a number so many replies are drawn to
            the prompt as it is, and their emotion is `None`.
        rows_per_batch (`int`, *optional*, defaults to 1): Rows that the writer gets at once.
        seed (`int`, *optional*, defaults to 0): Of all draws.
        system_prompt (`str`, *optional*): System message before every prompt.
        process_index, num_processes (`int`, *optional*): This process takes every `num_processes`-th batch.

    Raises:
        `ValueError`: the writer cannot write a row; names it. Rows that were under way are kept.
        `ConnectionError`: a server gives no answer.
    """
    batches = [rows[start : start + rows_per_batch] for start in range(0, len(rows), rows_per_batch)]
    batches = batches[process_index::num_processes]
    done = journal.rows()
    finished = sum(row["id"] in done for batch in batches for row in batch)
    left = [batch for batch in batches if any(row["id"] not in done for row in batch)]
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    draws = [(None, f"draw {number}") for number in range(emotions)] if isinstance(emotions, int) else None
    asked_for = draws or [(emotion, emotion) for emotion in emotions]  # and what the seed depends on

    def write(batch: Sequence[dict]) -> list[dict]:
        asked = [(row, emotion, name) for row in batch for emotion, name in asked_for]
        prompts = [
            system + (row["prompt"] if emotion is None else bracketed(row["prompt"], emotion))
            for row, emotion, _ in asked
        ]
        try:
            written = writer.write(prompts, [seed_of(seed, row["id"], name) for row, _, name in asked])
        except ValueError as error:
            raise ValueError(f"{', '.join(row['id'] for row in batch)}: {error}") from error
        replies = {row["id"]: [] for row in batch}
        for (row, emotion, _), reply in zip(asked, written):
            replies[row["id"]].append({"emotion": emotion, "text": reply.text, "finish_reason": reply.finish_reason})
        return [{"id": name, "replies": found} for name, found in replies.items() if name not in done]

    progress = tqdm(
        total=sum(map(len, batches)), initial=finished, unit="row", desc="writing", disable=process_index > 0
    )
    with progress, ThreadPoolExecutor(writer.concurrency) as pool:
        try:
            for found in as_finished(pool, write, left, 2 * writer.concurrency):
                journal.append(found)
                progress.update(len(found))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def as_finished(pool: ThreadPoolExecutor, function, items: Sequence, ahead: int) -> Iterator:
    """
    Runs `function` on items in the threads of `pool` and yields each result as soon as it is there.

    At most `ahead` items are submitted at a time. After an error no further item is submitted; those under way are
    still yielded, then the error is raised.
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
