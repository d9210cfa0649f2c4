"""The trial at assembly: what agrees passes, each fault is found by its own check, and a refusal is one line."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from transformers_empathav.checkpoint.assemble import assemble
from transformers_empathav.checkpoint.probe import lora_step, padded, text_alone, with_weights_of, written
from transformers_empathav.checkpoint.probe_encoders import MOST
from transformers_empathav.testing.families import save_tiny_encoders, save_tiny_llm


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, str]:
    return save_tiny_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture
def bare(model):
    return with_weights_of(model, AutoModelForCausalLM.from_config(model.config.text_config))


def put_together(family: str, folder: Path, encoders: dict[str, str]) -> list[str]:
    said = []
    save_tiny_llm(family, folder / "llm")
    assemble(folder / "out", source="hub", llm=str(folder / "llm"), **encoders, say=said.append)
    return said


@pytest.mark.parametrize("family", ["GPT-2", "BLOOM", "MPT", "LFM2", "Mixtral"])
def test_a_family_that_works_says_by_how_much(family, tmp_path, encoders):
    said = put_together(family, tmp_path, encoders)
    *logits, loss = [float(line.rpartition(" ")[2]) for line in said if " off by " in line]
    assert len(logits) == 3 and max(logits) < 1e-4 and loss < 0.05
    assert "width 32" in (tmp_path / "out" / "README.md").read_text()  # by whatever name its configuration has it


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("Falcon-H1", "'falcon_h1' cannot be the language model: text alone against the bare model: off by "),
        ("RecurrentGemma", "'recurrent_gemma' cannot be the language model: text alone"),
        ("Mamba", "'mamba'(, takes no KV cache| cannot be the language model)"),  # by the version of transformers
        ("RWKV", "a 'rwkv', takes no KV cache"),
        ("OPT-350m", "have 16 numbers and its layers 32"),
    ],
)
def test_a_family_that_does_not_is_refused_in_one_line(family, said, tmp_path, encoders):
    with pytest.raises(ValueError, match=said) as refusal:
        put_together(family, tmp_path, encoders)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_what_is_right_passes(model, bare):
    assert max(check(model, bare) for check in (text_alone, written, padded)) < 1e-5
    assert lora_step(model, bare) < 0.01
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


def test_a_transform_of_the_logits_is_measured(model, bare):
    with torch.no_grad():
        bare.get_output_embeddings().weight = torch.nn.Parameter(bare.get_output_embeddings().weight * 1.25)
    assert abs(text_alone(model, bare) - 0.2) < 1e-4  # 1 / 1.25 of the right logits


def test_a_cache_that_is_not_read_is_found(model, bare, monkeypatch):
    language_model = model.model.language_model
    forward = language_model.forward
    monkeypatch.setattr(
        language_model, "forward", lambda **kwargs: forward(**without(kwargs, "past_key_values", "cache"))
    )
    assert written(model, bare) > 10 * MOST and text_alone(model, bare) < 1e-5


def test_padding_that_is_read_is_found(model, bare, monkeypatch):
    language_model = model.model.language_model
    forward = language_model.forward
    monkeypatch.setattr(language_model, "forward", lambda **kwargs: forward(**without(kwargs, "attention_mask")))
    assert padded(model, bare) > 10 * MOST and written(model, bare) < 1e-5


def test_layers_that_learn_nothing_are_found(model, bare, monkeypatch):
    attention = model.model.language_model.layers[0].self_attn
    forward = attention.forward

    def deaf(*args, **kwargs):
        states, *rest = forward(*args, **kwargs)
        return states.detach(), *rest

    for layer in model.model.language_model.layers:
        monkeypatch.setattr(layer.self_attn, "forward", deaf)
    with pytest.raises(ValueError, match="no gradient reaches q_proj, k_proj, v_proj, o_proj"):
        lora_step(model, bare)


def without(kwargs: dict, *names: str) -> dict:
    return {name: value for name, value in kwargs.items() if name not in names}
