"""Layers with fewer operations compute what Llama's own do; other families and a model for training keep theirs."""

import pytest
import torch

from helpers import encode, relative_error, user
from transformers_empathav.chat.fused_layers import FusedLayer, fuse_layers
from transformers_empathav.chat.grouped_attention import group_heads
from transformers_empathav.chat.int8_linear import Int8Linear
from transformers_empathav.chat.responder import Responder
from transformers_empathav.testing.conversations import save_tiny_checkpoint
from transformers_empathav.testing.families import tiny_llm_config
from transformers_empathav.testing.tiny import tiny_model


@torch.no_grad()
def read(model, inputs):
    """Logits of a padded batch, of two tokens after it and then of one, and the hidden states of each layer."""
    out = model(**inputs, use_cache=True, output_hidden_states=True)
    found, mask = [out.logits[:, -1], *out.hidden_states], inputs["attention_mask"]
    for tokens in (2, 1):
        mask = torch.nn.functional.pad(mask, (0, tokens), value=1)
        positions = (mask.cumsum(dim=1) - 1)[:, -tokens:]
        ids = torch.full((len(mask), tokens), 11)
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=out.past_key_values)
        found.append(out.logits[:, -1])
    return found


def made(processor, attention: str, unusual: bool):
    """The same random model at each call; an unusual one has biases and another activation."""
    model = tiny_model(processor)
    layers = model.model.language_model.layers
    linears = [part for part in layers.modules() if isinstance(part, torch.nn.Linear)]
    generator = torch.Generator().manual_seed(0)
    for linear in linears if unusual else ():
        linear.bias = torch.nn.Parameter(torch.randn(linear.out_features, generator=generator))
    for layer in layers if unusual else ():
        layer.mlp.act_fn = torch.nn.GELU()
    if attention == "grouped":
        group_heads(model.model.language_model)
    else:
        model.model.language_model.set_attn_implementation(attention)
    return model


@pytest.mark.parametrize("attention", ["sdpa", "eager", "grouped"])
@pytest.mark.parametrize("texts", [["hello"], ["hello", "I lost my job and my dog"]])
@pytest.mark.parametrize("unusual", [False, True])
def test_they_compute_what_llamas_own_do(processor, texts, attention, unusual):
    plain, fused = (made(processor, attention, unusual) for _ in range(2))
    fuse_layers(fused.model.language_model)
    assert all(type(layer) is FusedLayer for layer in fused.model.language_model.layers)
    inputs = dict(encode(processor, *([user(text)] for text in texts)))
    expected, found = read(plain, inputs), read(fused, inputs)
    assert len(found) == len(expected) == 3 + len(plain.model.language_model.layers) + 1
    assert all(relative_error(*pair) < 1e-5 for pair in zip(found, expected))


def test_other_families_keep_their_layers(processor):
    model = tiny_model(processor, text_config=tiny_llm_config("Mistral"))
    before = [type(module) for module in model.modules()]
    fuse_layers(model.model.language_model)
    assert [type(module) for module in model.modules()] == before


def test_a_responder_has_them_also_with_rounded_weights(tmp_path):
    checkpoint = save_tiny_checkpoint(tmp_path / "checkpoint")
    for int8 in (False, True):
        layers = Responder(checkpoint, asr="", int8=int8).model.model.language_model.layers
        assert all(type(layer) is FusedLayer for layer in layers)
        assert isinstance(layers[0].qkv_proj, Int8Linear) == int8


def test_nobody_saves_what_could_not_be_loaded(tmp_path):
    responder = Responder(save_tiny_checkpoint(tmp_path / "checkpoint"), asr="")
    with pytest.raises(RuntimeError, match="cannot be saved: load the checkpoint"):
        responder.model.save_pretrained(tmp_path / "saved")
