"""The fingerprint of a compressor, by which it recognises its memories, also after a training."""

import hashlib
import re

import torch
from torch import nn


# How PEFT names a module that is trained whole beside LoRA.
TRAINED_BESIDES = r"\.modules_to_save\.[^.]+\."


class WeightsFingerprint:
    r"""
    Knows the fingerprint of weights, and computes it anew once they have changed.

    A checkpoint keeps its fingerprint where it is loaded in another dtype, so the fingerprint is taken as given, and
    weights that come unchanged out of a training keep it. In between, changes are seen by torch's version counters; a
    training is always checked by the content, since not every optimizer counts.
    """

    def __init__(self):
        self.known: str | None = None
        self.digest: str | None = None  # of the weights that `known` is the fingerprint of; computed when needed
        self.versions: list[tuple[int, int]] | None = None
        self.trained = False

    def claim(self, weights: dict[str, torch.Tensor], fingerprint: str | None):
        """Takes `fingerprint` as that of the weights, which were just loaded or saved under it."""
        self.known, self.digest, self.versions, self.trained = fingerprint, None, versions_of(weights), False

    def begin_training(self, weights: dict[str, torch.Tensor]):
        """From here on the weights may change in ways that nothing counts."""
        if not self.trained and self.known is not None:
            self.get(weights)
            self.digest = self.digest or digest_of(weights)
        self.trained = True

    def get(self, weights: dict[str, torch.Tensor]) -> str | None:
        """Fingerprint of the weights as they are, or as they were last where [`digest_of`] gives none."""
        versions = versions_of(weights)
        if self.trained or self.known is None or versions != self.versions:
            digest = digest_of(weights)
            if digest is not None and digest != self.digest:
                self.known, self.digest = digest, digest
            self.versions, self.trained = versions, False
        return self.known


def versions_of(weights: dict[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Which tensors there are, and how often each was changed in place, as torch counts; a cast does not count."""
    return [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in weights.values()]


def digest_of(weights: dict[str, torch.Tensor]) -> str | None:
    """
    SHA-256 of names and values, taken in float32 whatever their dtype. `None` where a tensor is on the device "meta",
    or holds NaN or infinity: no memory can be made then.
    """
    if any(tensor.is_meta or not tensor.isfinite().all() for tensor in weights.values()):
        return None
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def fingerprinted_weights(compressor: nn.Module, embeddings: nn.Module) -> dict[str, torch.Tensor]:
    """
    What the memories of a compressor depend on: its weights, those that an adapter has in place of its own, and the
    embeddings that it reads.
    """
    weights = compressor.state_dict(keep_vars=True).items()
    used = {re.sub(TRAINED_BESIDES, ".", name): tensor for name, tensor in weights if ".original_module." not in name}
    return {**used, "embeddings": embeddings.weight}


def is_adapted(compressor: nn.Module) -> bool:
    """Whether an adapter has weights in place of the compressor's own."""
    return any(re.search(TRAINED_BESIDES, name) for name in compressor.state_dict())


def are_trained(weights: dict[str, torch.Tensor]) -> bool:
    """Whether a training changes any of the weights."""
    return any(tensor.requires_grad for tensor in weights.values())
