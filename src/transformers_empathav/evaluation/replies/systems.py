"""The systems that an evaluation compares."""

import os
from dataclasses import dataclass

import torch

from ...checkpoint.loading import load_checkpoint
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from ...processing.processing_empathav import EmpathAVProcessor
from ..content_cache import content_key


@dataclass
class System:
    """
    A loaded checkpoint that answers.

    Args:
        name (`str`): Its name in tables.
        checkpoint (`str`): Directory or Hub id that it was loaded from.
        model ([`EmpathAVForCausalLM`]): In evaluation mode, with its adapter where it has one.
        processor ([`EmpathAVProcessor`]): The processor of the checkpoint.
        digest (`str`): Of all weights, see [`weights_digest`]. Caches tell systems apart by it.
    """

    name: str
    checkpoint: str
    model: EmpathAVForCausalLM
    processor: EmpathAVProcessor
    digest: str


def parse_pair(text: str) -> tuple[str, str]:
    """
    Splits `NAME=MODEL`.

    Raises:
        `ValueError`: the text is written otherwise.
    """
    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise ValueError(
            f"{text!r} names no model: write name=model, such as sft=runs/sft; the model is a directory or a Hub id, "
            "of a whole model or of an adapter."
        )
    return name, model


def load_system(
    name: str, checkpoint: str | os.PathLike, dtype: torch.dtype = torch.float32, device: str | None = None
) -> System:
    """Loads a checkpoint, or an adapter with its base, as [`load_checkpoint`] does, with frozen weights."""
    model, processor = load_checkpoint(checkpoint, device, dtype)
    return System(name, str(checkpoint), model.requires_grad_(False), processor, weights_digest(model))


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 of the names, types and values of all weights as they are loaded, adapters included."""
    return content_key(dict(sorted(model.state_dict().items())))
