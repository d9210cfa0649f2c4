"""Llama's layers in fewer operations: on a CPU a token of a reply costs nearly as much by their number as by bytes."""

import torch
from torch import nn
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, eager_attention_forward

from ..modeling.generation_empathav import CACHE


class FusedLayer(LlamaDecoderLayer):
    r"""
    A layer of Llama for evaluation. It computes what transformers' own does, with fewer calls: products of the same
    input are one, queries and keys turn together, and a norm is one call.

    Args:
        layer (`LlamaDecoderLayer`): Whose weights are taken over.
    """

    def __init__(self, layer: LlamaDecoderLayer):
        nn.Module.__init__(self)  # the weights that Llama's own would draw are not wanted
        attention, mlp = layer.self_attn, layer.mlp
        self.config, self.layer_idx, self.scaling = attention.config, attention.layer_idx, attention.scaling
        self.num_key_value_groups, self.is_causal = attention.num_key_value_groups, attention.is_causal
        self.width = attention.head_dim
        self.queries, self.keys = (part.out_features // self.width for part in (attention.q_proj, attention.k_proj))
        self.qkv_proj = joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self.o_proj, self.down_proj, self.act_fn = attention.o_proj, mlp.down_proj, mlp.act_fn
        self.gate_up_proj = joined(mlp.gate_proj, mlp.up_proj)
        self.input_layernorm, self.post_attention_layernorm = layer.input_layernorm, layer.post_attention_layernorm

    def forward(self, hidden_states: torch.Tensor, attention_mask=None, position_embeddings=None, **kwargs):
        """`(batch, tokens, hidden)` to the same, with the arguments of `LlamaDecoderLayer.forward`."""
        attended = self._attend(
            normed(hidden_states, self.input_layernorm), attention_mask, position_embeddings, kwargs
        )
        hidden_states = hidden_states + attended
        gate, up = self.gate_up_proj(normed(hidden_states, self.post_attention_layernorm)).chunk(2, dim=-1)
        return hidden_states + self.down_proj(self.act_fn(gate).mul_(up))

    def state_dict(self, *args, **kwargs):
        """
        Raises:
            `RuntimeError`: always, as the weights have lost their names.
        """
        raise RuntimeError("A responder's model is for answering and cannot be saved: load the checkpoint for that.")

    def _attend(self, hidden: torch.Tensor, mask, position_embeddings, options: dict) -> torch.Tensor:
        batch, tokens, _ = hidden.shape
        cos, sin = (part.unsqueeze(2) for part in position_embeddings)
        projected = self.qkv_proj(hidden).view(batch, tokens, -1, self.width)
        turned, values = projected.split((self.queries + self.keys, self.keys), dim=2)
        first, second = turned.chunk(2, dim=-1)
        turned = torch.addcmul(turned * cos, torch.cat((-second, first), dim=-1), sin)
        queries, keys = turned.transpose(1, 2).split((self.queries, self.keys), dim=1)
        values = values.transpose(1, 2)
        if (cache := options.pop(CACHE, None)) is not None:
            keys, values = cache.update(keys, values, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        seen, _ = attend(self, queries, keys, values, mask, dropout=0.0, scaling=self.scaling, **options)
        return self.o_proj(seen.reshape(batch, tokens, -1))


def normed(hidden: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    return rms_norm(hidden, (hidden.shape[-1],), norm.weight, norm.variance_epsilon)


def joined(*layers: nn.Linear) -> nn.Linear:
    """One layer with the outputs of all, one after the other."""
    with torch.device("meta"):
        one = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers), layers[0].bias is not None)
    for name, _ in list(one.named_parameters()):
        parts = torch.cat([getattr(layer, name).detach() for layer in layers])
        setattr(one, name, nn.Parameter(parts, requires_grad=False))
    return one


def fuse_layers(language_model: PreTrainedModel):
    """
    Puts such layers in the place of Llama's, where a model in evaluation runs on a CPU; others stay as they are. It
    cannot be trained or saved after that.
    """
    for place, layer in enumerate(getattr(language_model, "layers", ())):
        if type(layer) is LlamaDecoderLayer and language_model.device.type == "cpu":
            language_model.layers[place] = FusedLayer(layer).eval()
