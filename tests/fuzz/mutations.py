"""Damages bytes: single bits, numbers that mean something, pieces lost, repeated, or of another file."""

import random
import struct


NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 10**6, 2 * 10**9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1)
FLOATS = (0.0, -1.0, 1e-30, 2e9, 1e30, float("inf"), float("nan"))


def mutated(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """
    A damaged copy of `data`.

    Args:
        draw (`random.Random`): Decides what is done.
        data (`bytes`): A whole file.
        other (`bytes`): Another one, from which pieces may come.
    """
    mutant = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8, 20))):
        if mutant:
            draw.choice(DAMAGES)(draw, mutant, place(draw, mutant), other)
    return bytes(mutant)


def place(draw: random.Random, data: bytearray) -> int:
    """Somewhere; more often in the first or last bytes, where indices lie."""
    end = len(data)
    first, last = draw.choice(((0, end), (0, min(64, end)), (0, min(1024, end)), (max(end - 1024, 0), end)))
    return draw.randrange(first, last)


def flip(draw, data, at, other):
    data[at] ^= 1 << draw.randrange(8)


def replace(draw, data, at, other):
    data[at] = draw.randrange(256)


def write_number(draw, data, at, other):
    order = draw.choice("<>")
    if draw.random() < 0.2:
        number = struct.pack(f"{order}{draw.choice('fd')}", draw.choice(FLOATS))
    else:
        kind = draw.choice("BHIQ")
        number = struct.pack(f"{order}{kind}", draw.choice(NUMBERS) % 256 ** struct.calcsize(kind))
    data[at : at + len(number)] = number


def lose(draw, data, at, other):
    del data[at : at + length(draw)]


def repeat(draw, data, at, other):
    data[at:at] = data[at : at + length(draw)] * draw.choice((1, 1, 1, 50))


def insert(draw, data, at, other):
    data[at:at] = draw.randbytes(length(draw))


def blank(draw, data, at, other):
    end = min(at + length(draw), len(data))
    data[at:end] = bytes(end - at)


def graft(draw, data, at, other):
    begin, size = draw.randrange(len(other)), length(draw)
    data[at : at + size] = other[begin : begin + size]


def cut(draw, data, at, other):
    del data[draw.randrange(len(data)) :]


DAMAGES = (
    flip,
    flip,
    replace,
    replace,
    write_number,
    write_number,
    write_number,
    lose,
    repeat,
    insert,
    blank,
    graft,
    cut,
)


def length(draw: random.Random) -> int:
    """Of a piece."""
    return draw.choice((1, 2, 4, 8, 16, 100, 1000))
