"""Memories carry the fingerprint of the weights that made them: after a training, too, and at little cost."""

import copy

import pytest
import torch

from helpers import user
from transformers_empathav import EmpathAVConfig, EmpathAVForCausalLM
from transformers_empathav.modeling import compressor_fingerprint_empathav
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture
def folder(processor, tmp_path):
    tiny_model(processor).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def loaded(folder):
    return EmpathAVForCausalLM.from_pretrained(folder)


@pytest.fixture
def hi(processor):
    return processor.encode_history([user("Hello")])


@pytest.fixture
def digests(monkeypatch) -> list:
    """A list that grows by an entry whenever all weights are read."""
    taken, digest_of = [], compressor_fingerprint_empathav.digest_of
    monkeypatch.setattr(
        compressor_fingerprint_empathav, "digest_of", lambda weights: taken.append(1) or digest_of(weights)
    )
    return taken


def fingerprint_of(folder) -> str:
    return EmpathAVConfig.from_pretrained(folder).compressor_fingerprint


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_training_left_alone_keep_their_fingerprint(dtype, folder, hi):
    """Also where the checkpoint was rounded as it was loaded."""
    model = EmpathAVForCausalLM.from_pretrained(folder, dtype=dtype)
    before = model.compress(**hi)
    assert before.fingerprint == fingerprint_of(folder) is not None
    for _ in range(2):
        model.train()
        model.eval()
        after = model.compress(**hi, memory=before)
        assert after.fingerprint == model.config.compressor_fingerprint == fingerprint_of(folder)


def test_a_memory_made_after_a_training_is_refused_by_a_checkpoint_of_the_same_shape(loaded, processor, hi, tmp_path):
    tiny_model(processor, seed=1).save_pretrained(tmp_path / "other")
    other = EmpathAVForCausalLM.from_pretrained(tmp_path / "other")
    loaded.train()
    loaded.eval()
    memory = loaded.compress(**hi)
    with pytest.raises(ValueError, match="another checkpoint"):
        other.compress(**hi, memory=memory)
    other.train()
    other.eval()
    with pytest.raises(ValueError, match="another checkpoint"):
        other.compress(**hi, memory=memory)


def step_fused(model):
    optimizer = torch.optim.AdamW(model.model.compressor.parameters(), lr=0.1, fused=True)  # counts no version up
    model.model.compressor.readouts.weight.sum().backward()
    optimizer.step()


def write_data(model):
    model.model.compressor.readouts.weight.data.add_(1)


def move_embeddings(model):
    model.model.compressor.requires_grad_(False)
    model.train()
    with torch.no_grad():
        model.get_input_embeddings().weight[5].add_(1)


@pytest.mark.parametrize("change", [step_fused, write_data, move_embeddings])
def test_changed_weights_have_another_fingerprint_and_it_is_the_one_they_are_saved_under(
    change, folder, loaded, hi, tmp_path
):
    old = EmpathAVForCausalLM.from_pretrained(folder)
    loaded.train()
    change(loaded)
    loaded.eval()
    memory = loaded.compress(**hi)
    assert memory.fingerprint not in (None, fingerprint_of(folder))
    loaded.save_pretrained(tmp_path / "new")
    assert memory.fingerprint == fingerprint_of(tmp_path / "new")
    EmpathAVForCausalLM.from_pretrained(tmp_path / "new").compress(**hi, memory=memory)
    with pytest.raises(ValueError, match="another checkpoint"):
        old.compress(**hi, memory=memory)


def load_others(model, other):
    model.load_state_dict(other.state_dict())


def take_a_part(model, other):
    model.model.compressor.readouts = other.model.compressor.readouts


@pytest.mark.parametrize("change", [load_others, take_a_part])
def test_weights_that_change_without_a_training_are_noticed(change, loaded, processor, hi, folder):
    assert loaded.compress(**hi).fingerprint == fingerprint_of(folder)
    change(loaded, tiny_model(processor, seed=1))
    assert loaded.compress(**hi).fingerprint not in (None, fingerprint_of(folder))


def test_while_it_is_trained_a_compressor_signs_nothing_and_reads_its_weights_once(loaded, hi, digests):
    signed = loaded.compress(**hi)
    for _ in range(5):
        loaded.train()
        assert loaded.model.compress(**hi).fingerprint is None
        assert loaded.model.compress(**hi, memory=signed).fingerprint is None
    assert len(digests) == 1  # as they were before
    loaded.eval()
    for _ in range(5):
        assert loaded.compress(**hi).fingerprint == signed.fingerprint
    assert len(digests) == 2


def test_a_compressor_that_is_not_trained_signs_throughout(loaded, hi, digests, folder):
    loaded.model.compressor.requires_grad_(False)
    loaded.get_input_embeddings().requires_grad_(False)
    loaded.train()
    assert loaded.model.compress(**hi).fingerprint == fingerprint_of(folder)
    assert not digests


def test_a_new_model_signs_by_its_weights_and_not_by_its_configuration(loaded, processor, hi, folder):
    new = EmpathAVForCausalLM(EmpathAVConfig.from_pretrained(folder)).eval()
    memory = new.compress(**hi)
    assert memory.fingerprint not in (None, fingerprint_of(folder))
    with pytest.raises(ValueError, match="another checkpoint"):
        loaded.compress(**hi, memory=memory)
    one, other = (tiny_model(processor, seed=seed).compress(**hi).fingerprint for seed in (0, 0))
    assert one == other == fingerprint_of(folder)


def test_copies_and_casts_keep_it(loaded, hi, folder):
    assert copy.deepcopy(loaded).compress(**hi).fingerprint == fingerprint_of(folder)
    assert loaded.to(torch.bfloat16).compress(**hi).fingerprint == fingerprint_of(folder)


def test_weights_without_values_leave_it(folder):
    model = EmpathAVForCausalLM.from_pretrained(folder).to("meta")
    model.train()
    model.eval()
    assert model.model.compressor_fingerprint() == fingerprint_of(folder)


def test_an_adapter_that_changes_the_compressor_is_another_checkpoint(loaded, hi, folder, tmp_path):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(
        target_modules=r"model\.language_model\..*\.q_proj", modules_to_save=["compressor.embedding_projection"]
    )
    adapted = peft.get_peft_model(loaded, lora)
    adapted.train()
    with torch.no_grad():
        loaded.model.compressor.embedding_projection.modules_to_save["default"].linear.weight.add_(1)
    adapted.eval()
    memory = loaded.compress(**hi)
    adapted.save_pretrained(tmp_path / "adapter")
    assert memory.fingerprint not in (None, fingerprint_of(folder))
    again = EmpathAVForCausalLM.from_pretrained(tmp_path / "adapter")
    assert again.compress(**hi, memory=memory).fingerprint == memory.fingerprint
    merged = adapted.merge_and_unload()
    assert merged.compress(**hi, memory=memory).fingerprint == memory.fingerprint
    with pytest.raises(ValueError, match="another checkpoint"):
        EmpathAVForCausalLM.from_pretrained(folder).compress(**hi, memory=memory)
