"""Damaged and forged memory files: refused in one line and left as they are, or as good as any other memory."""

import json
import random

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from fuzz.cases import CASES, documented, try_all
from fuzz.child import Child
from fuzz.mutations import NUMBERS, mutated
from helpers import assistant, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.memory_file_empathav import MEMORY_FILE


FILES = CASES // 10
TALK = [user("I lost my job"), assistant("Oh no"), user("On Monday"), assistant("That is hard"), user("Yes")]
NAMES = ("vectors", "lengths", "turns", "roles", "unfinished", "conv", "ssm")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)


@pytest.fixture
def seeds(model, processor, tmp_path):
    """Memories as files: exact, merged within a budget, of two conversations, and empty."""
    history = processor.encode_history(TALK)
    memories = [
        model.compress(**history),
        model.compress(**history, memory=model.empty_memory(max_vectors=6)),
        model.compress(**processor.encode_history([TALK, TALK[:2]])),
        model.empty_memory(),
    ]
    for number, memory in enumerate(memories):
        memory.save_pretrained(tmp_path / f"{number}")
    return [(tmp_path / f"{number}" / MEMORY_FILE).read_bytes() for number in range(len(memories))]


def use(model, processor, folder):
    """What a memory must bear that was loaded: all that is done with one."""
    path = folder / MEMORY_FILE

    def check(case: tuple[bytes, bytes | None]):
        data, original = case
        path.write_bytes(data)
        try:
            with documented(ValueError):
                memory = ConversationMemory.from_pretrained(folder)
                if original is not None:
                    assert data == original or same(load(data), load(original)), "what the checksum covers has changed"
                go_on(memory)
        finally:
            assert path.read_bytes() == data

    def go_on(memory):
        rows, per = len(memory), memory.vectors_per_utterance
        more = processor.encode_history([[user("Again"), assistant("Yes")]] * rows)
        again = model.compress(**more, memory=memory)
        assert again.is_finite() and again.num_utterances == memory.num_utterances + 2 * rows
        assert again.max_vectors is None or int(again.lengths.max()) <= again.max_vectors
        inputs = processor.apply_chat_template(
            [[user("So?")]] * rows, memory=again, tokenize=True, return_dict=True, add_generation_prompt=True
        )
        with torch.no_grad():
            assert model(**inputs, memory=again).logits.isfinite().all()
        again.save_pretrained(folder / "again")
        loaded = ConversationMemory.from_pretrained(folder / "again")
        assert torch.equal(loaded.vectors, again.vectors) and loaded.max_vectors == again.max_vectors
        assert loaded.num_utterances == again.num_utterances and per == loaded.vectors_per_utterance
        (folder / "again" / MEMORY_FILE).unlink()

    return check


def same(tensors, others) -> bool:
    return tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.parametrize("kind", ["bytes", "header", "content"])
def test_damaged_memory_files(kind, seeds, model, processor, tmp_path):
    def attempt(draw: random.Random) -> str | None:
        original = draw.choice(seeds)
        if kind == "bytes":
            return child((mutated(draw, original, draw.choice(seeds)), original))
        return child(((forged_header if kind == "header" else forged)(draw, original), None))

    with Child(use(model, processor, tmp_path)) as child:
        try_all(f"test_fuzz_memory_files.py::test_damaged_memory_files[{kind}]", -(-FILES // 3), attempt)


def forged(draw: random.Random, data: bytes) -> bytes:
    """A memory with other numbers, types or shapes, in the format before, which has no checksum."""
    tensors, metadata = load(data), read_metadata(data)
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(NAMES)
        tensors[name] = draw.choice(FORGERIES)(draw, tensors[name])
    if draw.random() < 0.3:
        name = draw.choice(("vectors_per_utterance", "max_vectors", "fingerprint"))
        metadata[name] = draw.choice(("", "0", "1", "2", "3", "4", "6", "1000", "-2", "2.0", "٣", "x", f"{2**31}"))
    metadata["format_version"] = "2"
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)


def read_metadata(data: bytes) -> dict[str, str]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def one_number(draw, tensor):
    tensor = tensor.clone()
    if tensor.numel():
        number = draw.choice((*NUMBERS, -1, -2, 3, 4, 5, 1e30)) if draw.random() < 0.8 else float("nan")
        number = number if tensor.is_floating_point() else int(number) % 2**63 if number == number else 7
        limit = (
            None if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max if tensor.dtype != torch.bool else 1
        )
        tensor.view(-1)[draw.randrange(tensor.numel())] = number if limit is None else min(number, limit)
    return tensor


def a_little_more(draw, tensor):
    return tensor + draw.choice((-1, 1, 2))


def another_type(draw, tensor):
    return tensor.to(draw.choice(DTYPES))


def repeated(draw, tensor):
    return torch.cat([tensor] * 2, dim=draw.randrange(tensor.dim()))


def shorter(draw, tensor):
    dim = draw.randrange(tensor.dim())
    return tensor.narrow(dim, 0, draw.randrange(tensor.shape[dim] + 1))


def another_shape(draw, tensor):
    return tensor.flatten() if draw.random() < 0.5 else tensor[None]


def in_another_order(draw, tensor):
    return tensor.flip(draw.randrange(tensor.dim()))


FORGERIES = (one_number, one_number, a_little_more, another_type, repeated, shorter, another_shape, in_another_order)


def forged_header(draw: random.Random, data: bytes) -> bytes:
    """A file whose header says something else of its tensors, or of itself."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    name = draw.choice(NAMES)
    entry = header[name]
    change = draw.choice(("shape", "dtype", "offsets", "key", "metadata", "length"))
    if change == "shape":
        entry["shape"] = draw.choice(([], [0], [2**62, 4], [-1], [1] * 70, [1.5], "x", [0, 2**63], [2**70, 0]))
    elif change == "dtype":
        entry["dtype"] = draw.choice(("F8_E4M3", "I64", "F64", "U8", "BOOL", "C64", "F4", "", 3, None))
    elif change == "offsets":
        entry["data_offsets"] = draw.choice(([0, 0], [1, 0], [0, 2**63], [-1, 4], [0], [4, 8], "x"))
    elif change == "key":
        header[draw.choice(("more", "", "\x1b[31m", "__metadata__", "é" * 300))] = header.pop(name)
    elif change == "metadata":
        header["__metadata__"] = draw.choice(({}, None, [], "x", {"format_version": "2"}, {"format_version": 3}))
    text = json.dumps(header).encode()
    size = len(text) if change != "length" else draw.choice((0, 1, len(text) // 2, len(text) + 1, 2**40, 2**64 - 1))
    return size.to_bytes(8, "little") + text + data[end:]


def test_forgeries_are_files(seeds, tmp_path):
    """They must reach the checks: safetensors itself opens them."""
    draw = random.Random(0)
    for data in seeds * 5:
        (tmp_path / "forged").write_bytes(forged(draw, data))
        with safe_open(tmp_path / "forged", framework="pt") as file:
            assert set(file.keys()) == set(NAMES)
