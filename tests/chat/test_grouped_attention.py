"""Attention with grouped heads: the same as transformers' own, for one token and several, with padding and without."""

import pytest
import torch

from helpers import encode, relative_error, user
from transformers_empathav.chat.grouped_attention import GROUPED, group_heads
from transformers_empathav.modeling.generation_empathav import CACHE
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture
def model(processor):
    return tiny_model(processor)


def test_the_heads_of_the_tiny_model_share_keys(model):
    config = model.model.language_model.config
    assert config.num_attention_heads > config.num_key_value_heads


@torch.no_grad()
def steps(model, inputs):
    """Logits of the prompt and of tokens after it: one, three at once, and one."""
    mask, out = inputs["attention_mask"], model(**inputs, use_cache=True)
    logits = [out.logits[:, -1]]
    for tokens in ([11], [12, 13, 14], [15]):
        mask = torch.nn.functional.pad(mask, (0, len(tokens)), value=1)
        positions = (mask.cumsum(dim=1) - 1)[:, -len(tokens) :]
        ids = torch.tensor([tokens] * len(mask))
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **{CACHE: out[CACHE]})
        logits.append(out.logits[:, -1])
    return torch.stack(logits)


@pytest.mark.parametrize("texts", [["hello"], ["hello", "I lost my job and my dog"]])
def test_steps_are_those_of_sdpa(model, processor, texts, monkeypatch):
    inputs = encode(processor, *([user(text)] for text in texts))
    expected = steps(model, inputs)
    calls = []
    attend = torch.nn.functional.scaled_dot_product_attention
    group_heads(model.model.language_model)
    assert model.model.language_model.config._attn_implementation == GROUPED
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(kwargs) or attend(*args, **kwargs),
    )
    assert relative_error(steps(model, inputs), expected) < 1e-5
    layers = model.model.language_model.layers
    assert calls[-3 * len(layers) :] == [{"scale": layer.self_attn.scaling} for layer in layers] * 3


def test_whoever_chose_another_attention_keeps_it(model):
    model.model.language_model.set_attn_implementation("eager")
    group_heads(model.model.language_model)
    assert model.model.language_model.config._attn_implementation == "eager"
