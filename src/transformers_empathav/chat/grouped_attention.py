"""Attention of new tokens where several heads share keys: on a CPU torch copies the keys for each of them."""

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


GROUPED = "sdpa_grouped"
MANY = 128  # new tokens from which on computing outweighs the copy


def grouped_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    r"""
    transformers' `sdpa`, but for few new tokens the heads that share keys become the queries of one head. Nothing else
    is computed, only in another order.

    Args:
        query (`torch.Tensor` of shape `(batch, heads, tokens, width)`): Of the new tokens.
        key, value (`torch.Tensor` of shape `(batch, key_heads, positions, width)`): Of all tokens.
        attention_mask (`torch.Tensor` of shape `(batch, 1, tokens, positions)`, *optional*): What each of them sees.

    Returns:
        `tuple`: `torch.Tensor` of shape `(batch, tokens, heads, width)`, and `None`.
    """
    batch, heads, tokens, width = query.shape
    shared = heads // key.shape[1]
    usual = shared == 1 or tokens >= MANY or kwargs.get("position_bias") is not None
    if usual or tokens > 1 and attention_mask is None:  # then it is causal
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    packed = query.reshape(batch, key.shape[1], shared * tokens, width)
    if attention_mask is not None and tokens > 1:
        attention_mask = attention_mask.repeat(1, 1, shared, 1)
    seen = torch.nn.functional.scaled_dot_product_attention(packed, key, value, attention_mask, scale=scaling)
    return seen.reshape(batch, heads, tokens, width).transpose(1, 2), None


AttentionInterface.register(GROUPED, grouped_sdpa)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


def group_heads(model: PreTrainedModel):
    """Lets a language model in evaluation that runs on a CPU by `sdpa` attend so; others stay as they are."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(GROUPED)
