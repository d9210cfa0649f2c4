"""Small layers of extractor and compressor: mixing and pooling encoder layers, projecting to embeddings."""

import torch
from torch import nn
from transformers import initialization as init


FARTHEST = 2.0  # standard deviations (root mean square over all statistics); clips of unseen speakers lie within
NO_LIMIT = torch.finfo(torch.float32).max


class LayerMix(nn.Module):
    """
    Learned weighted average of an encoder's layers (softmax weights), equal weights before training.

    Each channel is first standardised by `channel_shift` and `channel_scale`, since a few channels of a transformer
    are so large that they would hide the others. Call `fit` before training; until then these change nothing.
    `dropout`, 0 by default, drops a channel of a layer for the whole clip.

    Args:
        num_layers (`int`): Number of layers.
        width (`int`): Channels of each layer.
    """

    def __init__(self, num_layers: int, width: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))
        self.register_buffer("channel_shift", torch.zeros(num_layers, width, dtype=torch.float32))
        self.register_buffer("channel_scale", torch.ones(num_layers, width, dtype=torch.float32))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Sets the initial values."""
        init.zeros_(self.logits)
        init.zeros_(self.channel_shift)
        init.ones_(self.channel_scale)

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        """Averages `layers` of shape `(clips, layers, tokens, width)` to `(clips, tokens, width)`."""
        shares = self.dropout((self.logits.softmax(0)[:, None] * self.channel_scale).expand(len(layers), -1, -1))
        offset = (shares * self.channel_shift).sum(dim=1, keepdim=True)
        return torch.einsum("clw,cltw->ctw", shares.to(layers.dtype), layers) - offset.to(layers.dtype)

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor):
        """
        Sets the standardisation from mean and standard deviation of each channel over training clips, `(layers,
        width)`.
        """
        self.channel_shift.copy_(mean)
        self.channel_scale.copy_(1 / spread.clamp(min=1e-4))


class LayerStatistics(nn.Module):
    """
    Mean and standard deviation over time of all layers, linearly projected: what a linear classifier of the clip would
    read.

    Call `fit` before training. It sets `channel_shift` and `channel_scale`, which standardise the statistics, and
    `limit`. Clips whose statistics exceed `limit` are scaled down; otherwise frames without a face would outweigh the
    voice. The output is zero until the projection is trained.

    Args:
        num_layers (`int`): Number of layers.
        width (`int`): Channels of each layer.
        out_width (`int`): Width of the output.
    """

    def __init__(self, num_layers: int, width: int, out_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_layers, 2, width, out_width))
        self.bias = nn.Parameter(torch.zeros(out_width))
        self.register_buffer("channel_shift", torch.zeros(num_layers, 2, width, dtype=torch.float32))
        self.register_buffer("channel_scale", torch.ones(num_layers, 2, width, dtype=torch.float32))
        self.register_buffer("limit", torch.tensor(NO_LIMIT, dtype=torch.float32))
        self.dropout = nn.Dropout(0.0)

    @torch.no_grad()
    def reset(self):
        """Sets the initial values."""
        init.zeros_(self.weight)
        init.zeros_(self.bias)
        init.zeros_(self.channel_shift)
        init.ones_(self.channel_scale)
        init.constant_(self.limit, NO_LIMIT)

    def forward(self, layers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """
        Pools `layers` `(clips, layers, tokens, width)` to `(clips, out_width)`; `mask` `(clips, tokens)` is true where
        a token counts.
        """
        found = self.dropout(self.scaled(statistics(layers, mask))).to(layers.dtype)
        return torch.einsum("clsw,lswo->co", found, self.weight) / found[0].numel() ** 0.5 + self.bias

    def scaled(self, found: torch.Tensor) -> torch.Tensor:
        """Standardises statistics of shape `(clips, layers, 2, width)` and scales down clips beyond `limit`."""
        found = (found - self.channel_shift) * self.channel_scale
        size = found.square().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12).sqrt()
        return found * (size / self.limit).clamp(min=1) ** -4

    @torch.no_grad()
    def fit(self, mean: torch.Tensor, spread: torch.Tensor, gain: float = 1.0, read: torch.Tensor | None = None):
        """
        Sets standardisation and limit from mean and standard deviation of each statistic over training clips, both
        `(layers, 2, width)`. A larger `gain` lets the projection, which starts from zero, learn faster beside the
        Q-Former. `read` `(layers, 2)` is true for what is read: of each layer the mean and the standard deviation; the
        others count as 0. All are read by default.
        """
        read = torch.ones_like(mean[..., 0]) if read is None else read.to(mean)
        self.channel_shift.copy_(mean)
        self.channel_scale.copy_(gain / spread.clamp(min=1e-4) * read[..., None])
        self.limit.fill_(gain * FARTHEST * float(read.mean()) ** 0.5)


def statistics(layers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean and standard deviation over the tokens where `mask` `(clips, tokens)` is true, in float32; zeros if there are
    none.

    `layers` has the shape `(clips, layers, tokens, width)`, the result `(clips, layers, 2, width)`.
    """
    shown, layers = mask[:, None, :, None], layers.float()
    count = shown.sum(dim=2).clamp(min=1)
    mean = torch.where(shown, layers, 0).sum(dim=2) / count
    spread = torch.where(shown, (layers - mean[:, :, None]).square(), 0).sum(dim=2) / count
    return torch.stack([mean, spread.clamp(min=1e-12).sqrt()], dim=2)  # sqrt has no finite gradient at 0


class EmbeddingProjection(nn.Module):
    r"""
    Projects features to vectors that resemble the language model's input embeddings.

    The output is `anchor + linear(features)`, rescaled to the root mean square of those embeddings. The anchor is the
    embedding of a token, set when a checkpoint is assembled. Before training the linear part is small: all vectors are
    close to the anchor, and the language model answers nearly as without them.

    Args:
        in_features (`int`): Width of the features.
        out_features (`int`): Width of the language model's embeddings.
        scale (`float`): Root mean square of the language model's input embeddings.
    """

    def __init__(self, in_features: int, out_features: int, scale: float):
        super().__init__()
        self.initial_scale = scale
        self.linear = nn.Linear(in_features, out_features)
        self.anchor = nn.Parameter(torch.empty(out_features))
        self.scale = nn.Parameter(torch.empty(1))

    @torch.no_grad()
    def reset(self, std: float):
        """Draws initial values, the linear weights with standard deviation `std`. Weights loaded from a file stay."""
        init.normal_(self.anchor)
        init.normal_(self.linear.weight, std=std)
        init.zeros_(self.linear.bias)
        init.constant_(self.scale, self.initial_scale)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        vectors = (self.anchor + self.linear(features)).float()
        return (nn.functional.rms_norm(vectors, vectors.shape[-1:], eps=1e-6) * self.scale).to(features.dtype)

    @torch.no_grad()
    def open(self, gain: float):
        """Multiplies the linear weights by `gain` and the anchor by 0.1. Call once before training."""
        self.linear.weight.mul_(gain)
        self.anchor.mul_(0.1)

    @torch.no_grad()
    def fit_to(self, embeddings: torch.Tensor, anchor_id: int):
        """Sets scale and anchor from input embeddings `(vocabulary, out_features)`; the anchor is row `anchor_id`."""
        embeddings = embeddings.float()
        self.scale.fill_(embeddings.square().mean(dim=-1).sqrt().mean())
        anchor = embeddings[anchor_id]
        self.anchor.copy_(anchor / anchor.square().mean().sqrt())


def sinusoids(position: torch.Tensor, width: int, longest: float = 1000.0) -> torch.Tensor:
    """
    Sinusoidal encoding of positions (arXiv 1706.03762), with a mean square of 1.

    Args:
        position (`torch.Tensor` of any shape): Positions, from 0.
        width (`int`): Size of the encoding, which is added as last dimension.
        longest (`float`, *optional*, defaults to 1000): Wavelengths range from 2 pi to 2 pi times this.
    """
    rates = longest ** -torch.linspace(0, 1, (width + 1) // 2, device=position.device)
    angles = position[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width] * 2**0.5
