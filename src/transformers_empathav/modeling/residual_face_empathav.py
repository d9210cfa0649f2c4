"""The residual variant of the face tower: plain 3x3 convolutions with channel gates, for training on small faces."""

import torch
import torch.nn.functional as F
from torch import nn


def shrink(faces: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Faces of another size, with the low-pass that a picture much larger than the network needs."""
    smooth = F.interpolate(faces.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return smooth.to(faces.dtype)


def standardize(faces: torch.Tensor) -> torch.Tensor:
    """
    Each face by itself to zero mean and unit spread, so that a darker or paler camera changes nothing.

    An even surface has no spread: it comes out as zeros, and the noise of a covered lens is not blown up.
    """
    exact = faces.float()
    exact = exact - exact.mean((1, 2, 3), keepdim=True)
    spread = exact.square().mean((1, 2, 3), keepdim=True).sqrt()
    return (exact / spread.clamp(min=0.05)).to(faces.dtype)


class ChannelGate(nn.Module):
    """Weighs each channel by what all of them show on average over the face (squeeze and excitation)."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(channels // reduction, 4), 1)
        self.excite = nn.Conv2d(self.squeeze.out_channels, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        shown = features.mean((2, 3), keepdim=True)
        return features * torch.sigmoid(self.excite(F.relu(self.squeeze(shown))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a channel gate beside a shortcut, which is the identity where the shapes allow it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, eps: float):
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels, eps=eps)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels, eps=eps)
        self.gate = ChannelGate(out_channels)
        self.stride, self.shortcut = stride, None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = F.relu(self.first_norm(self.first(features)))
        residual = self.gate(self.second_norm(self.second(residual)))
        if self.shortcut is not None:
            if self.stride != 1:  # the mean of what the stride would skip
                features = F.avg_pool2d(features, self.stride, ceil_mode=True)
            features = self.shortcut_norm(self.shortcut(features))
        return F.relu(features + residual)


def residual_stem(channels: int, eps: float) -> nn.Sequential:
    """One convolution at full size."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels, eps=eps), nn.ReLU()
    )


def residual_module(in_channels: int, out_channels: int, depth: int, eps: float) -> nn.Sequential:
    """`depth` residual blocks, of which the first halves height and width."""
    blocks = [ResidualBlock(in_channels, out_channels, 2, eps)]
    blocks += [ResidualBlock(out_channels, out_channels, 1, eps) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
