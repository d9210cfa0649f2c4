"""Rows on disk as they are finished: nothing lost, nothing twice, and the same however often it was interrupted."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chat_server import chat_server, reply_of
from transformers_empathav.pairs.journal import Journal
from transformers_empathav.pairs.sample import as_finished, seed_of, write_replies
from transformers_empathav.writers.remote import RemoteWriter
from transformers_empathav.writers.sampling import Sampling, Written


ROWS = [{"id": f"row{number}", "prompt": [{"role": "user", "content": f"Say {number}"}]} for number in range(7)]
EMOTIONS = ("angry", "sad")


class Echo:
    """Writes the seed of the whole batch and the prompt; stops where it is told to."""

    concurrency = 1

    def __init__(self, stop_after: int | None = None):
        self.batches, self.stop_after = 0, stop_after

    def write(self, prompts, seeds):
        if self.batches == self.stop_after:
            raise KeyboardInterrupt
        self.batches += 1
        return [Written(f"{seeds[0]} {prompt[-1]['content']}", "stop") for prompt in prompts]


class SeedEcho(Echo):
    """Writes the seed of each reply and the prompt."""

    def write(self, prompts, seeds):
        return [Written(f"{seed} {prompt[-1]['content']}", "stop") for prompt, seed in zip(prompts, seeds)]


def journal(folder, process=0, **settings):
    opened = Journal(folder, {"writer": "echo", **settings}, process)
    opened.open()
    return opened


def test_draws_see_the_prompt_as_it_is_and_differ_by_their_seeds(tmp_path):
    drawn = journal(tmp_path)
    write_replies(SeedEcho(), ROWS[:2], drawn, 3)
    replies = drawn.rows()["row1"]
    assert [reply["emotion"] for reply in replies] == [None] * 3
    assert [reply["text"] for reply in replies] == [f"{seed_of(0, 'row1', f'draw {n}')} Say 1" for n in range(3)]


@pytest.mark.parametrize("size", [1, 3])
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, size):
    whole = journal(tmp_path / "whole")
    write_replies(Echo(), ROWS, whole, EMOTIONS, size)
    assert list(whole.rows()) == [row["id"] for row in ROWS]
    text = whole.rows()["row3"][1]["text"]
    assert text.endswith("Say 3\n(Reply in one or two sentences, feeling [sad].)")

    parts = journal(tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        write_replies(Echo(stop_after=1), ROWS, parts, EMOTIONS, size)
    with open(parts.path, "ab") as stream:  # as if killed while the next rows were being written
        stream.write((tmp_path / "whole/rows-00000.jsonl").read_bytes().split(b"\n")[size] + b'\n{"id": "row')
    parts = journal(tmp_path / "parts")
    assert len(parts.rows()) == size + 1
    writer = Echo()
    write_replies(writer, ROWS, parts, EMOTIONS, size)
    assert parts.rows() == whole.rows()
    assert parts.path.read_bytes() == whole.path.read_bytes()
    write_replies(Echo(stop_after=0), ROWS, parts, EMOTIONS, size)  # nothing is left to write


def test_processes_share_the_batches_and_may_change_in_number(tmp_path):
    whole = journal(tmp_path / "whole")
    write_replies(Echo(), ROWS, whole, EMOTIONS, 2)
    for process in range(2):
        write_replies(Echo(), ROWS[:5], journal(tmp_path / "shared", process), EMOTIONS, 2, 0, None, process, 2)
    files = sorted((tmp_path / "shared").glob("rows-*"))
    assert [len(file.read_bytes().splitlines()) for file in files] == [3, 2]
    one = journal(tmp_path / "shared")
    write_replies(Echo(), ROWS, one, EMOTIONS, 2)  # row4 was alone in its batch, and is kept as it is
    assert {name: row for name, row in one.rows().items() if name != "row4"} == {
        name: row for name, row in whole.rows().items() if name != "row4"
    }


def test_other_settings_are_refused(tmp_path):
    journal(tmp_path, seed=0)
    with pytest.raises(ValueError, match="seed was 0 and is now 1.*--output_dir"):
        journal(tmp_path, seed=1)


def test_a_line_that_is_no_row_is_named(tmp_path):
    opened = journal(tmp_path)
    opened.append([{"id": "a", "replies": []}])
    opened.path.write_bytes(opened.path.read_bytes() + b"{}\n")
    with pytest.raises(ValueError, match="line 2 is no row"):
        opened.rows()


def test_seeds_are_of_row_and_emotion():
    seeds = {seed_of(0, row["id"], emotion) for row in ROWS for emotion in EMOTIONS}
    assert len(seeds) == 14 and seed_of(1, "row0", "sad") not in seeds and max(seeds) < 2**31
    assert seed_of(0, "row0", "sad") == seed_of(0, "row0", "sad")


def test_an_error_names_the_rows_and_loses_none(tmp_path):
    """Row 3 fails; those under way at that time are kept."""
    begun = threading.Barrier(2, timeout=5)

    class Failing(Echo):
        concurrency = 2

        def write(self, prompts, seeds):
            if "Say 0" in prompts[0][-1]["content"] or "Say 1" in prompts[0][-1]["content"]:
                begun.wait()
            if "Say 1" in prompts[0][-1]["content"]:
                raise ValueError("No.")
            return super().write(prompts, seeds)

    opened = journal(tmp_path)
    with pytest.raises(ValueError, match="row1: No."):
        write_replies(Failing(), ROWS, opened, EMOTIONS)
    assert "row0" in opened.rows() and "row1" not in opened.rows() and len(opened.rows()) <= 4


def test_a_server_works_on_several_rows_and_fails_without_loss(tmp_path):
    opened, together = journal(tmp_path), threading.Barrier(3)

    def answer(number, body):
        if number < 3:
            together.wait(timeout=60)  # none is answered before three are asked
        return (500, {}, "down") if number >= 6 else None

    with chat_server(answer) as server:
        writer = RemoteWriter(server.url, "tiny", Sampling(), concurrency=3, max_retries=0)
        with pytest.raises(ConnectionError, match="down"):
            write_replies(writer, ROWS, opened, EMOTIONS)
        assert server.most == 3
    before = opened.rows()
    assert 1 <= len(before) <= 3
    with chat_server() as server:
        write_replies(RemoteWriter(server.url, "tiny", Sampling(), concurrency=3), ROWS, opened, EMOTIONS)
        assert len(server.bodies) == 2 * (7 - len(before))
    rows = opened.rows()
    assert len(opened.path.read_bytes().splitlines()) == len(rows) == 7
    assert {name: rows[name] for name in before} == before
    for row in ROWS:
        for emotion, reply in zip(EMOTIONS, rows[row["id"]]):
            message = row["prompt"][0]["content"] + f"\n(Reply in one or two sentences, feeling [{emotion}].)"
            body = {"messages": [{"role": "user", "content": message}], "seed": seed_of(0, row["id"], emotion)}
            assert reply == {"emotion": emotion, "text": reply_of(body), "finish_reason": "stop"}


def test_a_journal_is_json_lines(tmp_path):
    opened = journal(tmp_path)
    opened.append([{"id": "é", "replies": [{"emotion": "sad", "text": "a\nb\u2028", "finish_reason": "stop"}]}])
    assert [json.loads(line) for line in opened.path.read_bytes().splitlines()][0]["id"] == "é"
    assert opened.rows()["é"][0]["text"] == "a\nb\u2028"


def test_what_is_finished_at_once_comes_in_the_order_it_was_begun():
    with ThreadPoolExecutor(1) as pool:
        for _ in range(50):
            assert list(as_finished(pool, lambda item: item, range(20), 2)) == list(range(20))
