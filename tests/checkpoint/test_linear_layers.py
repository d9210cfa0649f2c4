"""The linear layers of a language model, by whatever names: all of them, and nothing outside of it."""

import json
import re
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from transformers_empathav.checkpoint.linear_layers import describe_layers, layers_pattern, linear_layers
from transformers_empathav.testing.families import tiny_llm_config
from transformers_empathav.testing.tiny import tiny_model


SHIPPED = Path(__file__).parents[2] / "checkpoints" / "smollm2-135m" / "adapter" / "adapter_config.json"


def model_of(processor, family: str):
    return tiny_model(processor, text_config=tiny_llm_config(family), compressor_config=None)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("Llama", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
        ("GPT-2", ["c_attn", "c_proj", "c_fc"]),
        ("GPT-NeoX (Pythia)", ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
        ("Phi-3, Phi-4", ["o_proj", "qkv_proj", "gate_up_proj", "down_proj"]),
        ("OPT", ["k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2"]),
        ("StarCoder2", ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"]),
        ("LFM2", ["in_proj", "out_proj", "w1", "w3", "w2", "q_proj", "k_proj", "v_proj"]),
    ],
)
def test_all_layers_of_a_family_and_none_outside(processor, family, names):
    model = model_of(processor, family)
    assert sorted(linear_layers(model)) == sorted(names)
    pattern = layers_pattern(linear_layers(model))
    hit = {name for name, _ in model.named_modules() if re.fullmatch(pattern, name)}
    inner = model.model.language_model.named_modules(prefix="model.language_model")
    assert hit == {name for name, module in inner if isinstance(module, nn.Linear | Conv1D)}


@pytest.mark.parametrize("family", ["DeepSeek-V3", "Mixtral", "Jamba", "Nemotron-H", "Qwen3-Next"])
def test_an_adapter_reaches_what_is_hit_and_the_rest_is_named(processor, family):
    model = model_of(processor, family)
    layers = linear_layers(model)
    line = describe_layers(model, layers)
    rest = line.partition(" of the language model.")[2]
    matrices = {
        name.removesuffix(".weight").rpartition(".")[2]
        for name, weight in model.model.language_model.named_parameters()
        if weight.ndim > 1 and weight is not model.get_input_embeddings().weight
    }
    assert "\n" not in line and rest.endswith("stay.") or not matrices - set(layers)
    assert {name for name in matrices if name not in layers} == set(re.findall(r"\d+ (\w+)", rest))
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=layers_pattern(layers)))
    assert all(".language_model." in name for name, _ in adapted.named_parameters() if "lora" in name)


def test_weights_that_kernels_read_past_an_adapter_are_left_out(processor):
    layers = linear_layers(model_of(processor, "Jamba"))
    assert "in_proj" in layers and "o_proj" in layers and not {"x_proj", "dt_proj", "out_proj"} & set(layers)


def test_the_shipped_adapter_was_trained_on_just_these(processor):
    layers = linear_layers(model_of(processor, "Llama"))
    assert layers_pattern(layers) == json.loads(SHIPPED.read_text())["target_modules"]
