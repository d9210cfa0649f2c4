"""Casts to half precision: what stays in float32, and that it is what loading leaves in float32."""

import pytest
import torch
from transformers import DeepseekV3Config

from helpers import encode, relative_error, sound, user
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.testing.tiny import tiny_model


HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
EXACT = ("audio_tower", "vision_tower", "channel_shift", "channel_scale", "limit")


def tensors_of(model):
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: tensor for name, tensor in named.items() if not name.endswith("num_batches_tracked")}


def moe_config(processor):
    """A mixture of experts, whose router keeps its bias in float32."""
    return DeepseekV3Config(
        vocab_size=len(processor.tokenizer),
        hidden_size=32,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        tie_word_embeddings=True,
    )


@HALF
def test_a_cast_leaves_what_loading_leaves_in_float32(model, tmp_path, dtype):
    model.save_pretrained(tmp_path)
    loaded = EmpathAVForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    expected = {name: tensor.dtype for name, tensor in tensors_of(loaded).items()}
    assert {name: tensor.dtype for name, tensor in tensors_of(model.to(dtype)).items()} == expected
    assert set(expected.values()) >= {torch.float32, dtype}


@pytest.mark.parametrize("cast", ["bfloat16", "half", "to"])
def test_encoders_and_statistics_keep_every_bit(model, cast):
    exact = {name: tensor for name, tensor in tensors_of(model).items() if any(part in name for part in EXACT)}
    before = {name: tensor.clone() for name, tensor in exact.items()}
    model.to("cpu", torch.bfloat16) if cast == "to" else getattr(model, cast)()
    after = tensors_of(model)
    assert len(before) > 20 and all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert model.lm_head.weight.dtype in (torch.bfloat16, torch.float16)


def test_the_extractor_by_itself_keeps_them_too(model):
    extractor = model.model.extractor.to(torch.bfloat16)
    assert extractor.audio_tower.dtype == torch.float32 and extractor.queries.weight.dtype == torch.bfloat16


def test_a_wider_dtype_is_given_to_all(model):
    for dtype in (torch.float64, torch.float32):
        assert {tensor.dtype for tensor in tensors_of(model.to(torch.bfloat16).to(dtype)).values()} <= {
            dtype,
            torch.long,
        }


def test_gradients_go_with_their_parameters(model):
    tower = model.model.extractor.audio_tower.requires_grad_(True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.to(torch.bfloat16)
    assert all(parameter.grad.dtype == parameter.dtype for parameter in model.parameters())
    assert tower.layers[0].fc1.weight.grad.dtype == torch.float32


def test_what_a_language_model_keeps_in_float32_is_not_rounded(processor, tmp_path):
    model = tiny_model(processor, text_config=moe_config(processor))
    name = "model.language_model.layers.1.mlp.gate.e_score_correction_bias"
    exact = torch.full_like(tensors_of(model)[name], 1 / 3)
    tensors_of(model)[name].copy_(exact)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    assert torch.equal(tensors_of(model)[name], exact)
    assert torch.equal(tensors_of(EmpathAVForCausalLM.from_pretrained(tmp_path, dtype="auto"))[name], exact)


def test_a_cast_model_reads_clips(model, processor):
    inputs = encode(processor, [user(("audio", sound(1)), "hi")])
    exact = model(**inputs).logits
    assert relative_error(model.to(torch.bfloat16)(**inputs).logits, exact) < 0.1
