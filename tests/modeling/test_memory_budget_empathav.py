"""A budget merges the oldest utterances: nothing is lost, and how the reading was cut does not matter."""

import random
from dataclasses import replace

import pytest
import torch

from helpers import assistant, encode, relative_error, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.conversation_memory_empathav import ROLES
from transformers_empathav.modeling.memory_budget_empathav import length_within, merge_oldest
from transformers_empathav.modeling.state_space_empathav import StateSpaceState


TURNS = [(user if index % 3 else assistant)(f"utterance {index}") for index in range(23)]
BUDGET = 16  # eight utterances of two vectors


@pytest.fixture
def budgeted(model):
    return model.empty_memory(max_vectors=BUDGET)


def test_a_mean_of_two_neighbours_by_hand():
    vectors = torch.tensor([[3.0, 0.0], [0.0, 5.0], [1.0, 1.0], [2.0, 2.0]])
    turns, roles = torch.tensor([0, 3, 4, 5]), torch.tensor([2, 2, 3, 2])
    merged, starts, whose = merge_oldest(vectors, turns, roles, per_utterance=1, max_vectors=3)
    direction = torch.tensor([3 * 3.0, 1 * 5.0])  # the first stands for three utterances
    assert torch.allclose(merged[0], direction / direction.norm() * (3 + 5) / 2)
    assert torch.equal(merged[1:], vectors[2:])
    assert starts.tolist() == [0, 4, 5] and whose.tolist() == [2, 3, 2]


def test_within_the_budget_nothing_is_merged(model, processor, budgeted):
    history = processor.encode_history(TURNS[:8])
    memory, exact = model.compress(**history, memory=budgeted), model.compress(**history)
    assert memory.merged_utterances == 0
    assert torch.equal(memory.vectors, exact.vectors)


def test_beyond_it_the_oldest_are_merged_and_the_newest_are_exact(model, processor, budgeted):
    history = processor.encode_history(TURNS)
    memory, exact = model.compress(**history, memory=budgeted), model.compress(**history)
    assert memory.num_vectors <= BUDGET < exact.num_vectors
    assert memory.num_utterances == exact.num_utterances == len(TURNS)
    spans = memory.spans()[0]
    assert spans.sum() == len(TURNS) and memory.merged_utterances == int(spans[spans > 1].sum()) > 0
    assert torch.equal(memory.vectors[0, -8:], exact.vectors[0, -8:])
    assert spans.tolist() == sorted(spans.tolist(), reverse=True)  # the older, the coarser
    assert torch.equal(memory.state.ssm, exact.state.ssm)  # what is read from here on is read as without a budget


def test_turn_by_turn_equals_one_pass_under_a_budget(model, processor, budgeted):
    memory = budgeted
    for turn in TURNS:
        memory = model.compress(**processor.encode_history([turn]), memory=memory)
        assert memory.num_vectors <= BUDGET
    whole = model.compress(**processor.encode_history(TURNS), memory=budgeted)
    assert torch.equal(memory.turns, whole.turns) and torch.equal(memory.roles, whole.roles)
    assert relative_error(memory.vectors, whole.vectors) < 1e-4


def test_rows_are_merged_by_themselves(model, processor):
    rows = [TURNS, TURNS[:3], []]
    memory = model.compress(**processor.encode_history(rows), memory=model.empty_memory(3, max_vectors=BUDGET))
    for index, turns in enumerate(rows):
        alone = model.compress(**processor.encode_history(turns), memory=model.empty_memory(1, max_vectors=BUDGET))
        kept = memory.select(torch.tensor([index]))
        assert kept.lengths.tolist() == alone.lengths.tolist()
        assert kept.merged_utterances == alone.merged_utterances
        assert relative_error(kept.flat(), alone.flat()) < 1e-4 if len(alone.flat()) else len(kept.flat()) == 0


def test_merged_roles_are_kept_where_they_agree(model, processor, budgeted):
    same = model.compress(**processor.encode_history([user(f"{index}") for index in range(12)]), memory=budgeted)
    assert {ROLES[role] for role in same.roles[0].tolist()} == {"user"}
    mixed = model.compress(**processor.encode_history(TURNS), memory=budgeted)
    assert "several" in {ROLES[role] for role in mixed.roles[0].tolist()}


def test_the_budget_is_saved_with_the_memory(model, processor, budgeted, tmp_path):
    model.compress(**processor.encode_history(TURNS[:9]), memory=budgeted).save_pretrained(tmp_path)
    reloaded = ConversationMemory.from_pretrained(tmp_path)
    assert reloaded.max_vectors == BUDGET and reloaded.merged_utterances > 0
    more = model.compress(**processor.encode_history(TURNS[9:]), memory=reloaded)
    whole = model.compress(**processor.encode_history(TURNS), memory=budgeted)
    assert relative_error(more.vectors, whole.vectors) < 1e-4


@pytest.mark.parametrize("utterances", range(0, 40, 3))
def test_the_processor_leaves_the_places_that_the_memory_will_need(model, processor, budgeted, utterances):
    talk = [user(f"utterance {index}") for index in range(utterances)] + [user("and now?")]
    memory = model.compress(**processor.encode_history(TURNS[:5]), memory=budgeted)
    inputs = encode(processor, talk, memory=memory, recent_turns=1)
    places = int((inputs["input_ids"] == processor.memory_token_id).sum())
    assert places == memory.length_after(0, utterances) == length_within(2 * (5 + utterances), 2, BUDGET)
    model.generate(**inputs, memory=memory, max_new_tokens=1)  # vectors and places agree, or it would refuse


def test_a_budget_for_less_than_two_utterances_is_refused(model):
    with pytest.raises(ValueError, match="max_vectors=3"):
        model.empty_memory(max_vectors=3)


@pytest.mark.parametrize("budget", [-1, 0, True, 4.0, "8", 10**30, float("nan")])
def test_what_is_no_number_of_vectors_is_no_budget(model, processor, budget):
    memory = model.compress(**processor.encode_history(TURNS))
    for make in (lambda: model.empty_memory(max_vectors=budget), lambda: replace(memory, max_vectors=budget)):
        with pytest.raises(ValueError, match=f"max_vectors={budget!r}".replace("+", r"\+")) as error:
            make()
        assert "\n" not in str(error.value)


def test_a_budget_holds_from_the_moment_it_is_set(model, processor, budgeted):
    unlimited = model.compress(**processor.encode_history(TURNS))
    limited, whole = replace(unlimited, max_vectors=BUDGET), model.compress(
        **processor.encode_history(TURNS), memory=budgeted
    )  # fmt: skip
    assert limited.num_vectors == limited.length_after(0, 0) <= BUDGET < unlimited.num_vectors == 2 * len(TURNS)
    assert torch.equal(limited.vectors, whole.vectors) and torch.equal(limited.spans(), whole.spans())
    tighter = replace(limited, max_vectors=BUDGET // 2)
    assert tighter.num_vectors == tighter.length_after(0, 0) <= BUDGET // 2
    assert tighter.num_utterances == len(TURNS) == int(tighter.spans().sum())


def test_a_file_longer_than_its_budget_is_merged_when_it_is_read(model, processor, tmp_path):
    memory = model.compress(**processor.encode_history(TURNS))
    object.__setattr__(memory, "max_vectors", BUDGET)  # as versions did whose budget held from the next utterance on
    memory.save_pretrained(tmp_path)
    reloaded = ConversationMemory.from_pretrained(tmp_path)
    assert reloaded.num_vectors == reloaded.length_after(0, 0) <= BUDGET
    assert reloaded.num_utterances == len(TURNS)


def blank(rows: int, size: int, max_vectors: int | None) -> ConversationMemory:
    """Memories without an utterance, of a compressor that there is not."""
    state = StateSpaceState(torch.zeros(1, rows, 2, 1), torch.zeros(1, rows, 1, 1, 1))
    return ConversationMemory.empty(state, 3, torch.float32, vectors_per_utterance=size, max_vectors=max_vectors)


def read(memory: ConversationMemory, vectors: list[torch.Tensor], roles: list[torch.Tensor]) -> ConversationMemory:
    """The memory with further vectors of each row, whole utterances or not."""
    counts = torch.tensor([len(row) for row in vectors])
    return memory.append(torch.cat(vectors), torch.cat(roles), counts, memory.state, memory.unfinished)


@pytest.mark.parametrize("seed", range(40))
def test_predicted_and_held_lengths_agree_however_the_reading_was_cut(seed):
    """Vectors come in pieces of any length, which may end within an utterance; budgets are no round numbers."""
    draw = random.Random(seed)
    size, rows = draw.randint(1, 4), draw.randint(1, 3)
    budget = draw.randint(2 * size, 12 * size)
    whole = [torch.randn(size * draw.randint(0, 40), 3, generator=torch.manual_seed(seed)) for _ in range(rows)]
    roles = [torch.randint(1, 4, (len(row) // size,)).repeat_interleave(size).to(torch.int8) for row in whole]
    at_once = read(blank(rows, size, budget), whole, roles)
    later = replace(read(blank(rows, size, None), whole, roles), max_vectors=budget)
    memory, done = blank(rows, size, budget), [0] * rows
    while any(place < len(row) for place, row in zip(done, whole)):
        until = [min(place + draw.randint(0, 5 * size), len(row)) for place, row in zip(done, whole)]
        memory = read(memory, *([row[a:b] for row, a, b in zip(given, done, until)] for given in (whole, roles)))
        done = until
        assert memory.lengths.tolist() == [length_within(place, size, budget) for place in done]
        assert memory.lengths.tolist() == [memory.length_after(row, 0) for row in range(rows)]
        assert max(memory.lengths.tolist()) <= budget
        more = [draw.randint(0, 30) for _ in range(rows)]
        added = [torch.zeros(size * count, 3) for count in more]
        grown = read(memory, added, [torch.ones(len(row), dtype=torch.int8) for row in added])
        assert grown.lengths.tolist() == [memory.length_after(row, count) for row, count in enumerate(more)]
    for other in (at_once, later):
        for name in ("vectors", "turns", "roles", "lengths"):
            assert torch.equal(getattr(memory, name), getattr(other, name)), name
    assert memory.num_utterances == sum(len(row) // size for row in whole)
    narrower = replace(memory, max_vectors=draw.randint(2 * size, budget))
    assert narrower.lengths.tolist() == [narrower.length_after(row, 0) for row in range(rows)]
    assert narrower.num_utterances == memory.num_utterances


def test_rows_that_are_chosen_leave_no_padding(model, processor):
    memory = model.compress(**processor.encode_history([TURNS, TURNS[:2]])).select(torch.tensor([1]))
    assert memory.vectors.shape[1] == memory.num_vectors == 4
