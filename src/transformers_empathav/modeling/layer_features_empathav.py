"""What the Q-Former reads of an encoder's layers: their mix, token by token, and statistics of each over time."""

import torch
from torch import nn
from transformers import initialization as init


class LayerMix(nn.Module):
    """
    A learned convex combination of an encoder's layers; equal shares before training.

    A few channels of a transformer are so large that they would hide the others: training begins by fitting `shift`
    and `scale`, by which each channel of each layer is centred and brought to unit spread. Until then they change
    nothing. In training `dropout` hides a channel of a layer all along the clip.
    """

    def __init__(self, num_layers: int, width: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))
        self.register_buffer("shift", torch.zeros(num_layers, width))
        self.register_buffer("scale", torch.ones(num_layers, width))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Initial values."""
        init.zeros_(self.logits)
        init.zeros_(self.shift)
        init.ones_(self.scale)

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        """`(clips, layers, tokens, width)` to `(clips, tokens, width)`."""
        shares = self.dropout((self.logits.softmax(0)[:, None] * self.scale).expand(len(layers), -1, -1))
        offset = (shares * self.shift).sum(dim=1, keepdim=True)
        return torch.einsum("clw,cltw->ctw", shares.to(layers.dtype), layers) - offset.to(layers.dtype)

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor):
        """Takes mean and standard deviation of each channel over training clips, both `(layers, width)`."""
        self.shift.copy_(mean)
        self.scale.copy_(1 / spread.clamp(min=1e-4))


class LayerStatistics(nn.Module):
    """
    Mean and standard deviation of each layer over time, each projected to a token of its own.

    They say in two tokens a layer what a linear model hears in a voice; the mix beside them keeps the order of time.
    Training begins by fitting `shift` and `scale` as for [`LayerMix`], over clips.
    """

    def __init__(self, num_layers: int, width: int, out_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_layers, 2, width, out_width))
        self.bias = nn.Parameter(torch.empty(num_layers, 2, out_width))
        self.register_buffer("shift", torch.zeros(num_layers, 2, width))
        self.register_buffer("scale", torch.ones(num_layers, 2, width))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Initial values."""
        init.normal_(self.weight, std=self.weight.shape[2] ** -0.5)
        init.normal_(self.bias, std=0.1)
        init.zeros_(self.shift)
        init.ones_(self.scale)

    def forward(self, layers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(clips, layers, tokens, width)` that `mask` `(clips, tokens)` shows, to `(clips, 2 * layers, out)`."""
        found = (statistics(layers, mask) - self.shift) * self.scale
        tokens = torch.einsum("clsw,lswo->clso", self.dropout(found).to(layers.dtype), self.weight) + self.bias
        return tokens.flatten(1, 2)

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor):
        """Takes mean and standard deviation of each statistic over training clips, both `(layers, 2, width)`."""
        self.shift.copy_(mean)
        self.scale.copy_(1 / spread.clamp(min=1e-4))


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
