"""The file of a memory: older ones are read, and what is damaged or contradicts itself is refused in one line."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers import assistant, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.memory_file_empathav import MEMORY_FILE


TALK = [user("I lost my job"), assistant("Oh no"), user("On Monday"), assistant("That is hard")]


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
