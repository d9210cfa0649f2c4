"""Attention with grouped heads: the same as transformers' own, one token at a time, with padding and without."""

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
    """Logits of the prompt and of four tokens after it, one at a time."""
    mask, out = inputs["attention_mask"], model(**inputs, use_cache=True)
    logits = [out.logits[:, -1]]
    for token in (11, 12, 13, 14):
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        positions = mask.sum(dim=1, keepdim=True) - 1
        ids = torch.full((len(mask), 1), token)
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
    assert calls and not any(call.get("enable_gqa") for call in calls[-8:])


def test_whoever_chose_another_attention_keeps_it(model):
    model.model.language_model.set_attn_implementation("eager")
    group_heads(model.model.language_model)
    assert model.model.language_model.config._attn_implementation == "eager"
