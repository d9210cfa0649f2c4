"""A budget merges the oldest utterances: nothing is lost, and how the reading was cut does not matter."""

import pytest
import torch

from helpers import assistant, encode, relative_error, user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.conversation_memory_empathav import ROLES
from transformers_empathav.modeling.memory_budget_empathav import length_within, merge_oldest


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
