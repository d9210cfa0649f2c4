"""Roles and positions are those of one reading, wherever a reading was cut."""

import random

import pytest
import torch

from helpers import assistant, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.memory_check_empathav import ROLES
from transformers_empathav.modeling.utterance_positions_empathav import find_role_starts


TALK = [user("Hi"), assistant("Oh"), user("users assist", speaker="as"), {"role": "system", "content": "s"}]


def names_of(memory: ConversationMemory) -> list[str]:
    return [ROLES[role] for role in memory.roles[0, :: memory.vectors_per_utterance].tolist()]


def test_a_role_survives_a_cut_at_every_token(model, processor, tmp_path):
    """Each letter of a role's name is a token here."""
    assert min(map(len, model.config.role_token_ids.values())) > 1
    history = processor.encode_history(TALK)["history_input_ids"]
    whole = model.compress(history)
    assert names_of(whole) == ["user", "assistant", "user", "system"]
    for cut in range(1, history.shape[1]):
        memory = model.compress(history[:, :cut])
        memory.save_pretrained(tmp_path / str(cut))
        memory = ConversationMemory.from_pretrained(tmp_path / str(cut))
        assert names_of(model.compress(history[:, cut:], memory=memory)) == names_of(whole), cut


def test_a_role_survives_being_read_token_by_token(model, processor):
    memory = None
    for token in processor.encode_history(TALK)["history_input_ids"].split(1, dim=1):
        memory = model.compress(token, memory=memory)
    assert names_of(memory) == ["user", "assistant", "user", "system"]


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_are_cut_at_places_of_their_own(model, processor, seed):
    draw = random.Random(seed)
    talks = [TALK, TALK[1:], TALK[2:]]
    ids = [processor.encode_history(talk)["history_input_ids"][0] for talk in talks]
    memory, done = None, [0] * len(ids)
    while any(place < len(row) for place, row in zip(done, ids)):
        until = [min(place + draw.randint(0, 7), len(row)) for place, row in zip(done, ids)]
        pieces = [row[a:b] for row, a, b in zip(ids, done, until)]
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(piece) for piece in pieces], batch_first=True)
        name = torch.tensor(model.config.role_token_ids["user"])  # padding that looks like a name
        padded = name.repeat(len(ids), mask.shape[1])[:, : mask.shape[1]].clone()
        for row, piece in enumerate(pieces):
            padded[row, : len(piece)] = piece
        memory, done = model.compress(padded, mask, memory), until
    for row, talk in enumerate(talks):
        assert names_of(memory.select(torch.tensor([row]))) == [message["role"] for message in talk]


def read_in_two(tokens: list[int], cut: int, names: dict[str, list[int]]) -> int:
    """Role of an utterance whose tokens come in two calls."""
    first = find_role_starts(torch.tensor([tokens[:cut]]), names)
    unfinished = torch.tensor([[cut, int(first[0, 0])]])
    if int(first[0, 0]) >= 0:  # not within a name
        return int(first[0, 0])
    return int(find_role_starts(torch.tensor([tokens[cut:]]), names, unfinished=unfinished)[0, 0])


@pytest.mark.parametrize("cut", range(1, 5))
def test_names_of_which_one_begins_as_another(cut):
    names = {"system": [7, 8], "user": [7, 8, 9, 7], "assistant": [7, 3]}
    for tokens, role in (
        ([7, 8, 9, 7, 5], "user"),
        ([7, 8, 9, 5, 7], "system"),
        ([7, 8, 5, 5, 5], "system"),
        ([7, 3, 9, 7, 5], "assistant"),
        ([7, 9, 7, 8, 5], "unknown"),
    ):
        assert ROLES[max(int(find_role_starts(torch.tensor([tokens]), names)[0, 0]), 0)] == role
        assert ROLES[max(read_in_two(tokens, cut, names), 0)] == role


def test_an_utterance_that_ends_within_a_name_is_of_nobody_known(model, processor):
    name = model.config.role_token_ids["assistant"]
    readouts = [processor.memory_token_id] * 2
    memory = model.compress(torch.tensor([name[:3]]))
    assert memory.unfinished.tolist() == [[3, -ROLES.index("assistant")]]
    memory = model.compress(torch.tensor([readouts]), memory=memory)
    assert names_of(memory) == ["unknown"] and memory.unfinished.tolist() == [[0, 0]]
