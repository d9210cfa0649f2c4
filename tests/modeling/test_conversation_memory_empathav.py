"""ConversationMemory as a value: saved, reloaded, selected, and refused when it is broken."""

import errno
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers import assistant, user
from transformers_empathav import ConversationMemory, EmpathAVConfig, EmpathAVForCausalLM
from transformers_empathav.modeling.conversation_memory_empathav import MEMORY_FILE, ROLES
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture
def memory(model, processor):
    return model.compress(**processor.encode_history([[user("I lost my job"), assistant("Oh no")], [user("Hello")]]))


def test_what_is_saved_is_what_is_reloaded(memory, tmp_path):
    memory.save_pretrained(tmp_path)
    again = ConversationMemory.from_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MEMORY_FILE]
    for one, other in (
        (memory.vectors, again.vectors),
        (memory.lengths, again.lengths),
        (memory.state.ssm, again.state.ssm),
    ):
        assert torch.equal(one, other) and one.dtype == other.dtype
    assert again.num_utterances == memory.num_utterances == 3


def test_a_reloaded_memory_goes_on_as_the_kept_one(model, processor, memory, tmp_path):
    memory.save_pretrained(tmp_path)
    more = processor.encode_history([[user("And now?")], [user("Bye")]])
    kept = model.compress(**more, memory=memory)
    reloaded = model.compress(**more, memory=ConversationMemory.from_pretrained(tmp_path))
    assert torch.equal(kept.vectors, reloaded.vectors)


def test_sizes_count_what_is_there(memory):
    assert len(memory) == 2
    assert memory.lengths.tolist() == [4, 2]
    assert (memory.num_vectors, memory.num_utterances) == (6, 3)
    assert memory.flat().shape == (6, memory.vectors.shape[-1])


def test_vectors_know_their_turn_and_role(memory):
    assert memory.turns.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert [[ROLES[role] for role in row] for row in memory.roles.tolist()] == [
        ["user", "user", "assistant", "assistant"],
        ["user", "user", "unknown", "unknown"],  # the last two are padding
    ]


def test_a_name_behind_the_role_or_in_the_text_misleads_nobody(model, processor):
    talk = [user("assistant: hello", speaker="Ann"), assistant("user: hi"), user("x", emotion="sad")]
    memory = model.compress(**processor.encode_history(talk))
    assert [ROLES[role] for role in memory.roles[0, ::2].tolist()] == ["user", "assistant", "user"]


def test_tokens_without_a_role_are_of_nobody_known(model, processor):
    ids = processor.tokenizer("hello", add_special_tokens=False, return_tensors="pt")["input_ids"]
    readouts = torch.full((1, 2), processor.memory_token_id)
    assert model.compress(torch.cat([ids, readouts], dim=1)).roles.tolist() == [[0, 0]]


def test_damaged_weights_give_an_error_and_leave_the_memory(model, processor, memory, tmp_path):
    memory.save_pretrained(tmp_path)
    before = (tmp_path / MEMORY_FILE).read_bytes()
    with torch.no_grad():
        model.model.compressor.readouts.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="hold NaN"):
        model.compress(**processor.encode_history([[user("Hi")], [user("Hi")]]), memory=memory)
    with pytest.raises(ValueError, match="NaN or infinity"):
        replace(memory, vectors=memory.vectors * float("inf")).save_pretrained(tmp_path)
    assert (tmp_path / MEMORY_FILE).read_bytes() == before


def test_rows_can_be_selected_and_repeated(memory):
    chosen = memory.select(torch.tensor([1, 0, 0]))
    assert chosen.lengths.tolist() == [2, 4, 4]
    assert torch.equal(chosen.state.ssm[:, 0], memory.state.ssm[:, 1])


def test_saving_again_replaces_the_file_in_one_step(memory, tmp_path, monkeypatch):
    memory.save_pretrained(tmp_path)
    before = (tmp_path / MEMORY_FILE).read_bytes()

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="could not be written .No space left on device."):
        memory.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MEMORY_FILE]
    assert (tmp_path / MEMORY_FILE).read_bytes() == before


def test_no_memory_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        ConversationMemory.from_pretrained(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 200])
def test_a_truncated_file_is_called_damaged(memory, tmp_path, keep):
    memory.save_pretrained(tmp_path)
    path = tmp_path / MEMORY_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged"):
        ConversationMemory.from_pretrained(tmp_path)


def test_a_file_of_another_format_says_so(memory, tmp_path):
    memory.save_pretrained(tmp_path)
    path = str(tmp_path / MEMORY_FILE)
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(tensors, path, metadata={**metadata, "format_version": "99"})
    with pytest.raises(ValueError, match="format 99"):
        ConversationMemory.from_pretrained(tmp_path)


def test_the_memory_of_another_compressor_is_refused_even_of_the_same_sizes(processor, tmp_path):
    models = []
    for seed in (0, 1):
        tiny_model(processor, seed=seed).save_pretrained(tmp_path / str(seed))
        models.append(EmpathAVForCausalLM.from_pretrained(tmp_path / str(seed)))
    one, other = models
    memory = one.compress(**processor.encode_history([user("Hello")]))
    memory.save_pretrained(tmp_path)
    memory = ConversationMemory.from_pretrained(tmp_path)
    one.compress(**processor.encode_history([user("Again")]), memory=memory)
    with pytest.raises(ValueError, match="another checkpoint"):
        other.compress(**processor.encode_history([user("Again")]), memory=memory)


def test_a_compressor_that_is_being_trained_signs_no_memory(processor, tmp_path):
    """Its memories go on in the checkpoint that is saved then, and the old checkpoint refuses what that one makes."""
    tiny_model(processor).save_pretrained(tmp_path / "old")
    old, model = (EmpathAVForCausalLM.from_pretrained(tmp_path / "old") for _ in range(2))
    model.train()
    with torch.no_grad():
        model.model.compressor.readouts.weight.add_(1.0)
    model.eval()
    memory = model.compress(**processor.encode_history([user("Hello")]))
    model.save_pretrained(tmp_path / "new")
    more = processor.encode_history([user("Again")])
    for able in (model, EmpathAVForCausalLM.from_pretrained(tmp_path / "new")):
        able.compress(**more, memory=memory)
    with pytest.raises(ValueError, match="another checkpoint"):
        old.compress(**more, memory=model.compress(**more))


def test_the_fingerprint_depends_on_values_and_not_on_dtype(processor, tmp_path):
    model = tiny_model(processor).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    EmpathAVForCausalLM.from_pretrained(tmp_path / "half", dtype=torch.float32).save_pretrained(tmp_path / "full")
    half, full = (EmpathAVConfig.from_pretrained(tmp_path / name) for name in ("half", "full"))
    assert half.compressor_fingerprint == full.compressor_fingerprint
