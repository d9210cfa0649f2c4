"""The door into the language model's embedding space, shared by the extractor and the compressor."""

import torch
from torch import nn
from transformers import initialization as init


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
