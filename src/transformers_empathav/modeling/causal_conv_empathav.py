"""The short causal convolution of state-space layers, continued from where it stopped."""

import torch
import torch.nn.functional as F
from torch import nn


class DepthwiseConv(torch.autograd.Function):
    """
    Each channel of `x` (`torch.Tensor` of shape `(batch, length, channels)`) convolved with its row of `weight`
    (`torch.Tensor` of shape `(channels, 1, width)`), giving `length - width + 1` positions.
    """

    @staticmethod
    def convolve(x, weight, bias=None):
        # As a picture of height 1, channels last, it needs no transposed copy.
        picture = x.transpose(1, 2).unsqueeze(2)
        return F.conv2d(picture, weight.unsqueeze(2), bias, groups=len(weight)).squeeze(2).transpose(1, 2)

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return DepthwiseConv.convolve(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        # torch's own gradient of a long depthwise convolution takes several times as long on the CPU.
        x, weight = ctx.saved_tensors
        width, length = weight.shape[-1], grad.shape[1]
        grad_x = DepthwiseConv.convolve(F.pad(grad, (0, 0, width - 1, width - 1)), weight.flip(-1))
        grad_weight = torch.stack([(grad * x[:, i : i + length]).sum((0, 1)) for i in range(width)], dim=-1)
        return grad_x, grad_weight.unsqueeze(1), grad.sum((0, 1)) if ctx.needs_input_grad[2] else None


def depthwise_conv(channels, config):
    return nn.Conv1d(channels, channels, config.conv_kernel, groups=channels, bias=config.use_conv_bias)


def causal_conv(x, conv, state, lengths):
    """
    Depthwise causal convolution that continues from the inputs in `state`.

    Args:
        x (`torch.Tensor` of shape `(batch, length, channels)`): Inputs.
        conv (`nn.Conv1d`): Holds weight and bias.
        state (`torch.Tensor` of shape `(batch, channels, conv_kernel - 1)`): The inputs before the first position.
        lengths (`torch.Tensor` of shape `(batch,)` or `None`): True length of each row; `None` means all of it.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: outputs in the shape of `x`, and the last inputs of each row.
    """
    width = state.shape[-1]
    extended = torch.cat([state.transpose(1, 2).to(x.dtype), x], dim=1)
    if lengths is None:
        state = extended[:, x.shape[1] :]
    else:
        rows = torch.arange(len(x), device=x.device)[:, None]
        state = extended[rows, lengths[:, None] + torch.arange(width, device=x.device)]
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return DepthwiseConv.apply(extended, conv.weight.to(x.dtype), bias), state.transpose(1, 2)
