"""What is read of an encoder's layers: their mix, token by token, and statistics of each over time."""

import torch
from torch import nn
from transformers import initialization as init


FARTHEST = 2.0  # standard deviations, on the whole; clips of training and of other speakers lie within


class LayerMix(nn.Module):
    """
    A learned convex combination of an encoder's layers; equal shares before training.

    A few channels of a transformer are so large that they would hide the others: training begins by fitting
    `channel_shift` and `channel_scale`, by which each channel of each layer is centred and brought to unit spread.
    Until then they change nothing. In training `dropout` hides a channel of a layer all along the clip.
    """

    def __init__(self, num_layers: int, width: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))
        self.register_buffer("channel_shift", torch.zeros(num_layers, width))
        self.register_buffer("channel_scale", torch.ones(num_layers, width))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Initial values."""
        init.zeros_(self.logits)
        init.zeros_(self.channel_shift)
        init.ones_(self.channel_scale)

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        """`(clips, layers, tokens, width)` to `(clips, tokens, width)`."""
        shares = self.dropout((self.logits.softmax(0)[:, None] * self.channel_scale).expand(len(layers), -1, -1))
        offset = (shares * self.channel_shift).sum(dim=1, keepdim=True)
        return torch.einsum("clw,cltw->ctw", shares.to(layers.dtype), layers) - offset.to(layers.dtype)

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor):
        """Takes mean and standard deviation of each channel over training clips, both `(layers, width)`."""
        self.channel_shift.copy_(mean)
        self.channel_scale.copy_(1 / spread.clamp(min=1e-4))


class LayerStatistics(nn.Module):
    """
    Mean and standard deviation of each layer over time, projected together: what a linear model hears in a voice.

    Training begins by fitting `channel_shift` and `channel_scale`, as for [`LayerMix`], over clips, and `limit`: what
    lies farther off than clips of training do says less, or frames without a face would outweigh a voice. Until the
    projection is trained it gives zeros.
    """

    def __init__(self, num_layers: int, width: int, out_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_layers, 2, width, out_width))
        self.bias = nn.Parameter(torch.zeros(out_width))
        self.register_buffer("channel_shift", torch.zeros(num_layers, 2, width))
        self.register_buffer("channel_scale", torch.ones(num_layers, 2, width))
        self.register_buffer("limit", torch.tensor(float("inf")))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Initial values."""
        init.zeros_(self.weight)
        init.zeros_(self.bias)
        init.zeros_(self.channel_shift)
        init.ones_(self.channel_scale)
        init.constant_(self.limit, float("inf"))

    def forward(self, layers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(clips, layers, tokens, width)`, of which `mask` `(clips, tokens)` counts, to `(clips, out_width)`."""
        found = self.dropout(self.scaled(statistics(layers, mask))).to(layers.dtype)
        return torch.einsum("clsw,lswo->co", found, self.weight) / found[0].numel() ** 0.5 + self.bias

    def scaled(self, found: torch.Tensor) -> torch.Tensor:
        """Statistics `(clips, layers, 2, width)` as the projection reads them."""
        found = (found - self.channel_shift) * self.channel_scale
        size = found.square().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12).sqrt()
        return found * (self.limit / size).clamp(max=1) ** 4

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor, gain: float = 1.0):
        """
        Takes mean and standard deviation of each statistic over training clips, both `(layers, 2, width)`. With a
        larger `gain` the projection learns faster, beside the Q-Former, from zero.
        """
        self.channel_shift.copy_(mean)
        self.channel_scale.copy_(gain / spread.clamp(min=1e-4))
        self.limit.fill_(gain * FARTHEST)


def statistics(layers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean and standard deviation over the tokens that `mask` `(clips, tokens)` shows; zeros where it shows none.

    `(clips, layers, tokens, width)` to `(clips, layers, 2, width)`, in float32.
    """
    shown, layers = mask[:, None, :, None], layers.float()
    count = shown.sum(dim=2).clamp(min=1)
    mean = torch.where(shown, layers, 0).sum(dim=2) / count
    spread = torch.where(shown, (layers - mean[:, :, None]).square(), 0).sum(dim=2) / count
    return torch.stack([mean, spread.clamp(min=1e-12).sqrt()], dim=2)  # a gradient where nothing moves, too
