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


class CausalConv1d(nn.Conv1d):
    """
    The causal depthwise convolution of a mixer, as its Mamba configuration sizes it.

    Args:
        channels (`int`): Channels of the sequence.
        config ([`~transformers.Mamba2Config`] or [`~transformers.MambaConfig`]): Width and bias of the kernels.
    """

    def __init__(self, channels, config):
        super().__init__(channels, channels, config.conv_kernel, groups=channels, bias=config.use_conv_bias)

    def forward(self, x, state, lengths=None):
        """
        Convolves a sequence, or the next piece of one.

        Args:
            x (`torch.Tensor` of shape `(batch, length, channels)`): Inputs.
            state (`torch.Tensor` of shape `(batch, channels, conv_kernel - 1)`):
                Inputs before the first position; zeros at the start of a sequence.
            lengths (`torch.Tensor` of shape `(batch,)`, *optional*):
                Number of positions per row that are not padding; all by default.

        Returns:
            `tuple(torch.Tensor, torch.Tensor)`: outputs in the shape of `x`, and the state after the last real
            position.
        """
        width = state.shape[-1]
        extended = torch.cat([state.transpose(1, 2).to(x.dtype), x], dim=1)
        if lengths is None:
            state = extended[:, x.shape[1] :]
        else:
            rows = torch.arange(len(x), device=x.device)[:, None]
            state = extended[rows, lengths[:, None] + torch.arange(width, device=x.device)]
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return DepthwiseConv.apply(extended, self.weight.to(x.dtype), bias), state.transpose(1, 2)
