"""Small layers of extractor and compressor: what is read of an encoder, and the way into the embedding space."""

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


class EmbeddingProjection(nn.Module):
    r"""
    Maps features to vectors that look to the language model like embeddings of its own.

    The output is `anchor + linear(features)`, rescaled to the root mean square of the model's input embeddings. Before
    training the linear part is small, so every vector is close to the anchor (a token that changes little, set when a
    checkpoint is assembled) and the language model says what it would have said without it.

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
        """Random initial values, the linear part by `std`; weights that are loaded already stay."""
        init.normal_(self.anchor)
        init.normal_(self.linear.weight, std=std)
        init.zeros_(self.linear.bias)
        init.constant_(self.scale, self.initial_scale)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        vectors = (self.anchor + self.linear(features)).float()
        return (nn.functional.rms_norm(vectors, vectors.shape[-1:], eps=1e-6) * self.scale).to(features.dtype)

    @torch.no_grad()
    def open(self, gain: float):
        """Makes the linear part `gain` times stronger and the anchor a tenth: where training begins."""
        self.linear.weight.mul_(gain)
        self.anchor.mul_(0.1)

    @torch.no_grad()
    def fit_to(self, embeddings: torch.Tensor, anchor_id: int):
        """Takes scale and anchor from a table of token embeddings of shape `(vocabulary, out_features)`."""
        embeddings = embeddings.float()
        self.scale.fill_(embeddings.square().mean(dim=-1).sqrt().mean())
        anchor = embeddings[anchor_id]
        self.anchor.copy_(anchor / anchor.square().mean().sqrt())


def sinusoids(position: torch.Tensor, width: int, longest: float = 1000.0) -> torch.Tensor:
    """
    Sines and cosines of each position, of unit mean square.

    Args:
        position (`torch.Tensor` of any shape): Numbers from 0.
        width (`int`): Size of the last dimension that is added.
        longest (`float`, *optional*, defaults to 1000): The wavelengths go from 2 pi to 2 pi times this.
    """
    rates = longest ** -torch.linspace(0, 1, (width + 1) // 2, device=position.device)
    angles = position[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width] * 2**0.5
