"""The file of a memory: it is checked, writers do not undo each other, and a kill leaves one of two versions."""

import json
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
from safetensors import safe_open
from safetensors.torch import load_file, save_file

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


def metadata_of(folder) -> dict[str, str]:
    with safe_open(folder / MEMORY_FILE, framework="pt") as file:
        return file.metadata()


def as_format_2(folder, metadata=None, **tensors):
    """Rewrites a memory as the version before did, without a checksum; tensors may be replaced or `None` left out."""
    kept = {**load_file(folder / MEMORY_FILE), **tensors}
    header = {name: text for name, text in metadata_of(folder).items() if name != "checksum"}
    header |= {"format_version": "2", **(metadata or {})}
    save_file({name: value for name, value in kept.items() if value is not None}, folder / MEMORY_FILE, header)


def refused(folder) -> str:
    """The error of a memory that must not load, and whose file must stay."""
    before = (folder / MEMORY_FILE).read_bytes()
    with pytest.raises(ValueError) as error:
        ConversationMemory.from_pretrained(folder)
    assert (folder / MEMORY_FILE).read_bytes() == before
    line = str(error.value)
    assert line.startswith(f"{folder / MEMORY_FILE} ") and "compress the conversation again" in line
    assert "\n" not in line and line.isprintable()
    return line


# What is read


def test_a_file_of_the_version_before_is_read(memory, saved, model, processor):
    as_format_2(saved)
    again = ConversationMemory.from_pretrained(saved)
    for name in ("vectors", "lengths", "turns", "roles", "unfinished"):
        assert torch.equal(getattr(again, name), getattr(memory, name))
    assert again.fingerprint == memory.fingerprint and again.num_utterances == 4
    model.compress(**processor.encode_history([user("Again")]), memory=again).save_pretrained(saved)
    assert metadata_of(saved)["format_version"] == "3"
    assert ConversationMemory.from_pretrained(saved).num_utterances == 5


NONSENSE = {
    "too long": ({"lengths": torch.tensor([9])}, "has 9 vectors, not within 0 and 8"),
    "of negative length": ({"lengths": torch.tensor([-1])}, "has -1 vectors"),
    "of other rows": ({"lengths": torch.tensor([8, 8])}, "has lengths of shape"),
    "with floats as lengths": ({"lengths": torch.tensor([8.0])}, "lengths is of torch.float32"),
    "of ninety-four utterances": ({"turns": torch.tensor([[0, 0, 1, 1, 2, 2, 93, 93]])}, "leave out utterances"),
    "with turns that go back": ({"turns": torch.tensor([[0, 0, 2, 2, 1, 1, 3, 3]])}, "do not increase"),
    "with a turn twice": ({"turns": torch.tensor([[0, 0, 1, 1, 1, 1, 2, 2]])}, "do not increase"),
    "with turns that begin late": ({"turns": torch.tensor([[1, 1, 2, 2, 3, 3, 4, 4]])}, "begin at 1"),
    "with half a turn": ({"turns": torch.tensor([[0, 1, 1, 1, 2, 2, 3, 3]])}, "differ within one utterance"),
    "with turns of no conversation": ({"turns": torch.tensor([[0, 0, 2**40, 2**40] * 2])}, "is no turn"),
    "with negative turns": ({"turns": torch.tensor([[0, 0, -1, -1, 2, 2, 3, 3]])}, "is no turn"),
    "with turns of another shape": ({"turns": torch.tensor([[0, 0, 1, 1]])}, "has turns of shape"),
    "with a role beyond": ({"roles": torch.full((1, 8), 5, dtype=torch.int8)}, "a role is 5"),
    "with a negative role": ({"roles": torch.full((1, 8), -1, dtype=torch.int8)}, "a role is -1"),
    "with wide roles": ({"roles": torch.full((1, 8), 2)}, "roles is of torch.int64"),
    "with NaN": ({"vectors": torch.full((1, 8, 32), float("nan"))}, "vectors holds NaN or infinity"),
    "with flat vectors": ({"vectors": torch.zeros(8, 32)}, "vectors of shape .batch, vectors, hidden."),
    "with whole vectors": ({"vectors": torch.zeros(1, 8, 32, dtype=torch.int64)}, "vectors is of torch.int64"),
    "with an infinite state": ({"ssm": torch.full((2, 1, 4, 16, 8), float("inf"))}, "ssm holds NaN or infinity"),
    "with a half state": ({"ssm": torch.zeros(2, 1, 4, 16, 8, dtype=torch.float16)}, "ssm is of torch.float16"),
    "with the state of two": ({"ssm": torch.zeros(2, 2, 4, 16, 8)}, "do not belong together"),
    "with a flat state": ({"conv": torch.zeros(8)}, "do not belong together"),
    "with a negative rest": ({"unfinished": torch.tensor([[-1, 0]])}, "an utterance of -1 tokens"),
    "with an endless rest": ({"unfinished": torch.tensor([[2**50, 2]])}, "contradict each other"),
    "with the rest of a stranger": ({"unfinished": torch.tensor([[3, 4]])}, "role 4"),
    "with a role and no rest": ({"unfinished": torch.tensor([[0, 2]])}, "an utterance of 0 tokens"),
    "with half a rest": ({"lengths": torch.tensor([7])}, "an utterance of 0 tokens, 1 vectors"),
    "with a wide rest": ({"unfinished": torch.tensor([[0, 0, 0]])}, "has unfinished of shape"),
    "without roles": ({"roles": None}, "it lacks roles"),
    "with more": ({"more\x1b": torch.zeros(1)}, r"unknown 'more\\x1b'"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_memory_that_contradicts_itself_is_refused(name, saved):
    tensors, said = NONSENSE[name]
    as_format_2(saved, **tensors)
    with pytest.raises(ValueError, match=said):
        ConversationMemory.from_pretrained(saved)
    refused(saved)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"max_vectors": "1"}, "no room for two utterances"),
        ({"max_vectors": "-8"}, "max_vectors is '-8'"),
        ({"max_vectors": "9" * 400}, "max_vectors is '99999"),
        ({"max_vectors": "4294967296"}, "max_vectors=4294967296"),
        ({"max_vectors": "1e3"}, "max_vectors is '1e3'"),
        ({"vectors_per_utterance": "0"}, "vectors_per_utterance=0"),
        ({"vectors_per_utterance": ""}, "vectors_per_utterance is ''"),
        ({"vectors_per_utterance": "1"}, "do not increase"),
        ({"vectors_per_utterance": "4"}, "differ within one utterance"),
        ({"format_version": "2\n\x1b[31m"}, "format 2.n.x1b"),
        ({"format_version": ""}, "memory format "),
    ],
)
def test_settings_that_are_none_are_refused(metadata, said, saved):
    as_format_2(saved, metadata)
    with pytest.raises(ValueError, match=said):
        ConversationMemory.from_pretrained(saved)
    refused(saved)


@pytest.mark.parametrize("size", [2**70, 2**63 - 1, 2**62])
def test_sizes_that_no_tensor_has_are_refused(size, saved):
    """`vectors` of so many numbers and no byte: whatever the libraries raise."""
    path = saved / MEMORY_FILE
    header = {"vectors": {"dtype": "F32", "shape": [0, size, size], "data_offsets": [0, 0]}}
    text = json.dumps(header | {"__metadata__": metadata_of(saved)}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(saved)


@pytest.mark.parametrize("metadata", [None, {}, {"format_version": "2"}, {"format_version": "3"}])
def test_a_file_without_its_settings_is_refused(metadata, saved):
    save_file(load_file(saved / MEMORY_FILE), saved / MEMORY_FILE, metadata)
    refused(saved)


def test_nonsense_is_not_written_over_a_memory(memory, saved):
    before = (saved / MEMORY_FILE).read_bytes()
    for changed in (
        replace(memory, vectors=memory.vectors * float("inf")),
        replace(memory, turns=memory.turns + 1),
        replace(memory, roles=memory.roles + 9),
    ):
        with pytest.raises(ValueError, match="was not saved"):
            changed.save_pretrained(saved)
    assert (saved / MEMORY_FILE).read_bytes() == before


def test_a_memory_made_by_hand_has_one_shape(memory):
    for change in (
        {"lengths": torch.tensor([1, 2])},
        {"turns": memory.turns[:, :2]},
        {"unfinished": torch.zeros(1, 3, dtype=torch.long)},
        {"vectors": memory.vectors[0]},
        {"state": memory.state.select([0, 0])},
        {"vectors_per_utterance": 0},
        {"vectors_per_utterance": 2.0},
    ):
        with pytest.raises(ValueError) as error:
            replace(memory, **change)
        assert "\n" not in str(error.value)


def test_every_changed_byte_is_noticed(memory, saved):
    """Also within a vector, where any number would do: the checksum knows."""
    whole, draw = (saved / MEMORY_FILE).read_bytes(), random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 8))):
            data[draw.randrange(draw.choice((len(data), 900)))] = draw.randrange(256)
        cut = draw.choice((len(data), len(data), draw.randrange(len(data))))
        (saved / MEMORY_FILE).write_bytes(data[:cut])
        if data[:cut] != whole:
            refused(saved)


# What is written


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
