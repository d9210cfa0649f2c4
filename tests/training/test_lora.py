"""LoRA on the language model alone: by default on all of its linear layers, whatever they are called."""

import logging

import pytest
from peft import get_peft_model

from transformers_empathav.checkpoint.linear_layers import linear_layers
from transformers_empathav.testing.families import tiny_llm_config
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.adapters import AdapterArguments
from transformers_empathav.training.lora import language_model_lora


def adapted_layers(model, config) -> set[str]:
    """Full names of the layers that an adapter of this configuration changes."""
    names = (name for name, _ in get_peft_model(model, config).named_parameters() if ".lora_A." in name)
    return {name.removeprefix("base_model.model.").partition(".lora_A.")[0] for name in names}


@pytest.mark.parametrize("family", ["Llama", "GPT-2", "GPT-NeoX (Pythia)", "Phi-3, Phi-4", "OPT"])
def test_without_names_all_linear_layers_are_adapted_and_no_encoder(processor, family):
    models = [tiny_model(processor, text_config=tiny_llm_config(family)) for _ in range(3)]
    found = adapted_layers(models[0], language_model_lora(2))
    assert found == adapted_layers(models[1], language_model_lora(2, layers=linear_layers(models[1])))
    assert found == adapted_layers(models[2], AdapterArguments().lora(models[2]))
    assert len(found) >= 8 and all(name.startswith("model.language_model.") for name in found)


def test_a_recipe_says_what_it_adapts_and_what_not(processor, caplog):
    model = tiny_model(processor, text_config=tiny_llm_config("Mixtral"))
    with caplog.at_level(logging.INFO):
        AdapterArguments().lora(model)
    assert "LoRA adapts 2 q_proj, 2 k_proj, 2 v_proj, 2 o_proj of the language model." in caplog.text
    assert "2 gate_up_proj, 2 down_proj" in caplog.text and caplog.text.rstrip().endswith("stay.")


def test_named_layers_alone_are_adapted(processor):
    model = tiny_model(processor)
    found = adapted_layers(model, AdapterArguments(lora_layers=["q_proj"]).lora(model))
    assert len(found) == 2 and all(name.endswith(".q_proj") for name in found)
