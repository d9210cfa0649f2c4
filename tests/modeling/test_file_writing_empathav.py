"""Writers of one memory do not undo each other, and a kill or a full disk leaves one of two versions."""

import multiprocessing
import os
import random
import resource
import signal
import stat
import threading
import time
from dataclasses import replace

import pytest
import torch

from helpers import assistant, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling import file_writing_empathav, memory_file_empathav
from transformers_empathav.modeling.file_writing_empathav import locked, write_file
from transformers_empathav.modeling.memory_file_empathav import MEMORY_FILE


TALK = [user("I lost my job"), assistant("Oh no"), user("On Monday"), assistant("That is hard")]
PROCESSES = multiprocessing.get_context("fork")  # the children have the model, and need no second import


@pytest.fixture
def memory(model, processor):
    return model.compress(**processor.encode_history(TALK))


@pytest.fixture
def saved(memory, tmp_path):
    memory.save_pretrained(tmp_path)
    return tmp_path


def test_a_memory_is_not_written_over_what_it_has_not_read(saved, model, processor):
    ours, theirs = ConversationMemory.from_pretrained(saved), ConversationMemory.from_pretrained(saved)
    theirs = model.compress(**processor.encode_history([user("Theirs")]), memory=theirs)
    theirs.save_pretrained(saved)
    ours = model.compress(**processor.encode_history([user("Ours")]), memory=ours.to("cpu"))
    with pytest.raises(ValueError, match="written by someone else meanwhile") as error:
        ours.save_pretrained(saved)
    assert "\n" not in str(error.value)
    assert torch.equal(ConversationMemory.from_pretrained(saved).vectors, theirs.vectors)
    for _ in range(3):  # who wrote last goes on
        theirs = model.compress(**processor.encode_history([user("More")]), memory=theirs)
        theirs.save_pretrained(saved)
    assert ConversationMemory.from_pretrained(saved).num_utterances == 8
    ours.save_pretrained(saved / "elsewhere")


def test_several_copies_are_kept_up_to_date(memory, tmp_path, model, processor):
    for turn in range(3):
        memory = model.compress(**processor.encode_history([user(f"{turn}")]), memory=memory)
        for name in ("one", "other"):
            memory.save_pretrained(tmp_path / name)
    assert ConversationMemory.from_pretrained(tmp_path / "one").num_utterances == 7


def test_a_memory_that_was_never_there_replaces_one_aloud_or_not_at_all(memory, saved, model, processor, monkeypatch):
    said = []
    monkeypatch.setattr(memory_file_empathav.logger, "warning", said.append)
    other = model.compress(**processor.encode_history([user("Another talk")]))
    with pytest.raises(ValueError, match="written by someone else"):
        other.save_pretrained(saved, must_be_new=True)
    assert ConversationMemory.from_pretrained(saved).num_utterances == 4 and not said
    other.save_pretrained(saved)
    assert ConversationMemory.from_pretrained(saved).num_utterances == 1
    assert len(said) == 1 and "is replaced" in said[0]


def test_a_link_is_followed_and_stays_one(memory, saved, tmp_path_factory, model, processor):
    link = tmp_path_factory.mktemp("link") / MEMORY_FILE
    link.symlink_to(saved / MEMORY_FILE)
    for _ in range(2):
        memory = model.compress(**processor.encode_history([user("More")]), memory=memory)
        memory.save_pretrained(link.parent)
    assert link.is_symlink() and ConversationMemory.from_pretrained(saved).num_utterances == 6


def test_a_lock_ends_with_its_block_though_a_fork_has_its_handle(saved, monkeypatch):
    monkeypatch.setattr(file_writing_empathav, "PATIENCE", 0.05)
    with locked(saved):
        child = PROCESSES.Process(target=time.sleep, args=(30,))
        child.start()
    try:
        with locked(saved) as alone:
            assert alone
    finally:
        child.kill()
        child.join()


def add(model, processor, folder, name, begin, attempts, outcome):
    """A writer: reads, waits for the others, adds an utterance and writes; and tries again if told to."""
    for attempt in range(attempts):
        memory = ConversationMemory.from_pretrained(folder)
        memory = model.compress(**processor.encode_history([user(name)]), memory=memory)
        if not attempt:
            begin.wait(120)
        try:
            memory.save_pretrained(folder)
            outcome.put((name, None))
            return
        except ValueError as error:
            told = str(error)
    outcome.put((name, told))


@pytest.mark.parametrize("attempts", [1, 1000])
def test_six_writers_lose_nothing_in_silence(attempts, saved, model, processor):
    begin, outcome = PROCESSES.Barrier(6), PROCESSES.SimpleQueue()
    writers = [
        PROCESSES.Process(target=add, args=(model, processor, saved, f"{n}", begin, attempts, outcome))
        for n in range(6)
    ]
    for writer in writers:
        writer.start()
    told = dict(outcome.get() for _ in writers)
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    written = [name for name, error in told.items() if error is None]
    assert len(written) == (1 if attempts == 1 else 6)  # all had read before the first wrote
    assert all("written by someone else" in error for error in told.values() if error is not None)
    assert ConversationMemory.from_pretrained(saved).num_utterances == 4 + len(written)
    assert [path.name for path in saved.iterdir()] == [MEMORY_FILE]


def write_without_end(memory, model, processor, folder):
    versions = [memory, model.compress(**processor.encode_history([user("More")]), memory=memory)]
    while True:
        for version in versions:
            replace(version, files=ConversationMemory.from_pretrained(folder).files).save_pretrained(folder)


def test_a_kill_at_any_moment_leaves_one_of_two_versions(memory, saved, model, processor):
    draw = random.Random(0)
    for _ in range(20):
        writer = PROCESSES.Process(target=write_without_end, args=(memory, model, processor, saved))
        writer.start()
        time.sleep(draw.uniform(0.02, 0.15))
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        assert ConversationMemory.from_pretrained(saved).num_utterances in (4, 5)
        ConversationMemory.from_pretrained(saved).save_pretrained(saved)
        assert [path.name for path in saved.iterdir()] == [MEMORY_FILE]


def test_what_a_killed_writer_left_is_removed_and_what_is_the_users_stays(memory, saved):
    for name in (".memory-0123456789abcdef", ".memory-old", "notes.txt", ".memory", "memory-1"):
        (saved / name).write_bytes(b"part")
    memory.save_pretrained(saved)
    assert {path.name for path in saved.iterdir()} == {MEMORY_FILE, "notes.txt", ".memory", "memory-1"}


def test_a_living_writer_is_waited_for(memory, saved, monkeypatch):
    monkeypatch.setattr(file_writing_empathav, "PATIENCE", 0.05)
    part = saved / ".memory-0123456789abcdef"
    with locked(saved) as alone:
        assert alone
        part.write_bytes(b"part")
        with pytest.raises(TimeoutError, match="Another process has been writing in"):
            memory.save_pretrained(saved)
        assert part.exists()
        monkeypatch.setattr(file_writing_empathav, "PATIENCE", 60.0)
        waiting = threading.Thread(target=memory.save_pretrained, args=(saved,))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive() and part.exists()
    waiting.join(30)
    assert not waiting.is_alive() and not part.exists()


def test_where_nothing_can_be_locked_it_is_written_and_nobodys_part_removed(memory, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", fail)
    (tmp_path / ".memory-0123456789abcdef").write_bytes(b"part")
    memory.save_pretrained(tmp_path)
    assert ConversationMemory.from_pretrained(tmp_path).num_utterances == 4
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read(umask, mode, memory, tmp_path):
    before = os.umask(umask)
    try:
        for _ in range(2):
            memory.save_pretrained(tmp_path)
            assert stat.S_IMODE((tmp_path / MEMORY_FILE).stat().st_mode) == mode
    finally:
        os.umask(before)


def write_too_much(memory, folder, outcome):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))  # as a full disk, but for this process
    try:
        memory.save_pretrained(folder)
    except Exception as error:
        outcome.put((isinstance(error, OSError), str(error)))


def test_a_full_disk_is_an_oserror_and_leaves_the_old_memory(saved, model, processor):
    before, outcome = (saved / MEMORY_FILE).read_bytes(), PROCESSES.SimpleQueue()
    more = model.compress(**processor.encode_history([user("More")]), memory=ConversationMemory.from_pretrained(saved))
    writer = PROCESSES.Process(target=write_too_much, args=(more, saved, outcome))
    writer.start()
    is_oserror, line = outcome.get()
    writer.join(120)
    assert is_oserror and str(saved / MEMORY_FILE) in line and "could not be written" in line and "\n" not in line
    assert (saved / MEMORY_FILE).read_bytes() == before
    assert [path.name for path in saved.iterdir()] == [MEMORY_FILE]


def test_what_killed_writers_left_of_any_file_is_removed_with_its_next_writing(tmp_path):
    path = tmp_path / "odd [1]*.bin"
    others = [tmp_path / name for name in (".odd [1]-0123456789abcdef", ".odd 1-0123456789abcdef", "odd [1]*-2.bin")]
    for other in (tmp_path / ".odd [1]*-0123456789abcdef", *others):
        other.write_bytes(b"part")
    write_file(path, b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])

    def refuse():
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        write_file(path, b"newer", refuse)
    assert path.read_bytes() == b"new" and sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_any_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "entry.safetensors"
    write_file(path, b"first")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_file(path, b"second")
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
