"""The language model's weights in 8 bits, for replies on a CPU: a token reads a quarter of the bytes."""

import torch
from torch import nn

from ..modeling.modeling_empathav import EmpathAVForCausalLM


FEW = 16  # rows up to which torch's product with 8-bit weights is faster than rounding back and multiplying


class Int8Linear(nn.Module):
    r"""
    A linear layer without gradients whose weights are whole numbers, one scale for each output. Only weights are
    rounded: what the layer reads stays as it is, but for bfloat16 in products of few rows.

    Args:
        linear (`nn.Linear`): Whose weights are taken over.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weights = linear.weight.detach().float()
        scale = (weights.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", (weights / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("short_scale", scale.bfloat16())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """`(..., in_features)` to `(..., out_features)`, in the type of `hidden`."""
        rows = hidden.reshape(-1, self.in_features)
        if len(rows) <= FEW:
            product = torch.ops.aten._weight_int8pack_mm(rows.bfloat16(), self.weight, self.short_scale)
        else:
            product = nn.functional.linear(rows.float(), self.weight.float()) * self.scale
        product = product.to(hidden.dtype).view(*hidden.shape[:-1], self.out_features)
        return product if self.bias is None else product + self.bias.to(hidden.dtype)


def to_int8(model: EmpathAVForCausalLM):
    r"""
    Rounds the linear layers of a model's language model to 8 bits, in place; extractor, compressor and embeddings stay
    as they are. It cannot be trained or saved after that.

    Args:
        model ([`EmpathAVForCausalLM`]): In evaluation mode, on a CPU.

    Raises:
        `ValueError`: the model is not on a CPU.
    """
    if model.device.type != "cpu":
        raise ValueError(f"int8 is for a CPU and the model is on {model.device}: leave it out there.")
    for parent in (model, *model.model.language_model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
