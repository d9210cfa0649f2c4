"""Causal depthwise convolution of the Mamba layers, with a state so that a sequence can be read in pieces."""

import torch
import torch.nn.functional as F
from torch import nn


class DepthwiseConv(torch.autograd.Function):
    """
    Depthwise convolution over time, without padding; its backward pass is faster than torch's on the CPU.

    Args:
        x (`torch.Tensor` of shape `(batch, length, channels)`): Inputs.
        weight (`torch.Tensor` of shape `(channels, 1, width)`): One kernel per channel.
        bias (`torch.Tensor` of shape `(channels,)` or `None`): Added to each channel.

    Returns:
        `torch.Tensor` of shape `(batch, length - width + 1, channels)`.
    """

    @staticmethod
    def convolve(x, weight, bias=None):
        # conv2d on an image of height 1, channels last, needs no transposed copy; conv1d would.
        picture = x.transpose(1, 2).unsqueeze(2)
        return F.conv2d(picture, weight.unsqueeze(2), bias, groups=len(weight)).squeeze(2).transpose(1, 2)

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return DepthwiseConv.convolve(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        # On the CPU torch's own gradient of a long depthwise convolution takes several times as long.
        x, weight = ctx.saved_tensors
        width, length = weight.shape[-1], grad.shape[1]
        grad_x = DepthwiseConv.convolve(F.pad(grad, (0, 0, width - 1, width - 1)), weight.flip(-1))
        grad_weight = torch.stack([(grad * x[:, i : i + length]).sum((0, 1)) for i in range(width)], dim=-1)
        return grad_x, grad_weight.unsqueeze(1), grad.sum((0, 1)) if ctx.needs_input_grad[2] else None


def depthwise_conv(channels, config):
    """The depthwise `nn.Conv1d` of a mixer, as its Mamba configuration sizes it; applied by [`causal_conv`]."""
    return nn.Conv1d(channels, channels, config.conv_kernel, groups=channels, bias=config.use_conv_bias)


def causal_conv(x, conv, state, lengths):
    """
    Applies a depthwise causal convolution to a sequence, or to the next piece of one.

    Args:
        x (`torch.Tensor` of shape `(batch, length, channels)`): Inputs.
        conv (`nn.Conv1d`): Holds weight and bias.
        state (`torch.Tensor` of shape `(batch, channels, conv_kernel - 1)`):
            Inputs before the first position; zeros at the start of a sequence.
        lengths (`torch.Tensor` of shape `(batch,)` or `None`):
            Number of positions per row that are not padding; `None` if no row is padded.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: outputs in the shape of `x`, and the state after the last real position.
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
