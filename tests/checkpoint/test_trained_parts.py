"""A trained part as a file: saved and loaded alike, without frozen encoders, and refused where it does not fit."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.checkpoint.assemble import to_saved_dtype
from transformers_empathav.checkpoint.trained_parts import (
    TRAINED_PARTS,
    load_part,
    part_file,
    renew_part,
    save_part,
    trained_tensors,
)
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture
def pair(processor):
    return tiny_model(processor, seed=0), tiny_model(processor, seed=1)


@pytest.mark.parametrize("part", TRAINED_PARTS)
def test_what_is_saved_is_what_is_loaded_and_encoders_stay(pair, tmp_path, part):
    model, other = pair
    path = tmp_path / part_file(part)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    save_part(model, part, path)
    load_part(other, part, path)
    for name, tensor in trained_tensors(other, part).items():
        assert torch.equal(tensor, trained_tensors(model, part)[name]), name
    for name, tensor in other.state_dict().items():
        if f".{part}." not in name or "_tower." in name:
            assert torch.equal(tensor, before[name]), name
    assert not [name for name in load_file(path) if "_tower." in name]


@pytest.mark.parametrize("part", TRAINED_PARTS)
def test_a_part_that_is_begun_anew_remembers_nothing(pair, processor, part):
    model, other = pair
    other.model.language_model.load_state_dict(model.model.language_model.state_dict())
    towers = {name: tensor.clone() for name, tensor in other.state_dict().items() if "_tower." in name}
    for each in pair:
        torch.manual_seed(5)
        renew_part(each, part, processor.tokenizer)
    for name, tensor in trained_tensors(other, part).items():
        assert torch.equal(tensor, trained_tensors(model, part)[name]), name
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in towers.items())
    scale = getattr(model.model, part).embedding_projection.scale
    expected = model.get_input_embeddings().weight.square().mean(-1).sqrt().mean().item()
    assert scale.item() == pytest.approx(expected)


def test_a_full_disk_is_an_oserror_and_leaves_the_old_part(pair, tmp_path, monkeypatch):
    path = tmp_path / part_file("compressor")
    save_part(pair[0], "compressor", path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=f"{path} could not be written"):
        save_part(pair[1], "compressor", path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_it_can_be_saved_in_half_precision(pair, tmp_path):
    save_part(pair[0], "compressor", tmp_path / "half.safetensors", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "half.safetensors").values()} == {torch.bfloat16}


def test_what_was_fitted_to_data_is_never_rounded(pair, tmp_path):
    model, other = pair
    shift = model.model.extractor.audio_mix.channel_shift
    shift.copy_(1000 + torch.randn_like(shift))
    save_part(model, "extractor", tmp_path / "half.safetensors", dtype=torch.bfloat16)
    load_part(other, "extractor", tmp_path / "half.safetensors")
    assert torch.equal(other.model.extractor.audio_mix.channel_shift, shift)
    assert load_file(tmp_path / "half.safetensors")["queries.weight"].dtype == torch.bfloat16

    to_saved_dtype(model).save_pretrained(tmp_path / "saved")
    half = EmpathAVForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)
    assert torch.equal(half.model.extractor.audio_mix.channel_shift, shift)


def test_a_loaded_compressor_makes_memories_of_its_own(pair, tmp_path):
    model, other = pair
    other.save_pretrained(tmp_path / "other")
    assert other.config.compressor_fingerprint is not None
    save_part(model, "compressor", tmp_path / "part.safetensors")
    load_part(other, "compressor", tmp_path / "part.safetensors")
    assert other.config.compressor_fingerprint is None


def test_a_part_that_does_not_fit_names_what_differs(pair, tmp_path):
    model, other = pair
    path = tmp_path / "part.safetensors"
    save_part(model, "extractor", path)
    stored = load_file(path)
    save_file({**stored, "queries.weight": stored["queries.weight"][:1].clone()}, path)
    with pytest.raises(ValueError, match=r"of another shape: queries.weight"):
        load_part(other, "extractor", path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        load_part(other, "extractor", path)


def test_an_extractor_brings_its_settings_along_and_older_files_the_defaults(pair, processor, tmp_path):
    model, other = pair

    def settings(one):
        return one.config.emotion_temperature, one.config.emotion_threshold, one.config.pad_audio

    model.config.emotion_temperature, model.config.emotion_threshold, model.config.pad_audio = 1.7, 0.8, False
    save_part(model, "extractor", tmp_path / "extractor.safetensors")
    load_part(other, "extractor", tmp_path / "extractor.safetensors")
    assert settings(other) == (1.7, 0.8, False)
    assert other.model.extractor.config.pad_audio is False
    again = (tmp_path / "extractor.safetensors").read_bytes()
    save_part(other, "extractor", tmp_path / "extractor.safetensors")
    assert (tmp_path / "extractor.safetensors").read_bytes() == again
    save_file(load_file(tmp_path / "extractor.safetensors"), tmp_path / "older.safetensors")
    load_part(other, "extractor", tmp_path / "older.safetensors")
    assert settings(other) == (1.0, 0.5, True)
    renew_part(model, "extractor", processor.tokenizer)
    assert settings(model) == (1.0, 0.5, True)


def test_a_compressor_brings_along_whether_its_state_is_carried(pair, tmp_path):
    model, other = pair
    model.config.carry_state = False
    save_part(model, "compressor", tmp_path / "compressor.safetensors")
    load_part(other, "compressor", tmp_path / "compressor.safetensors")
    assert other.config.carry_state is False and other.model.compressor.config.carry_state is False
    save_file(load_file(tmp_path / "compressor.safetensors"), tmp_path / "older.safetensors")
    load_part(other, "compressor", tmp_path / "older.safetensors")
    assert other.config.carry_state is True
