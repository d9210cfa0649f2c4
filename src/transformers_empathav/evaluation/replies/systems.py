"""What is compared: checkpoints by name, each loaded when it is needed."""

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
    A model that answers.

    Args:
        name (`str`): What tables call it.
        checkpoint (`str`): Where it came from.
        model ([`EmpathAVForCausalLM`]): In evaluation mode, with its adapter where it has one.
        processor ([`EmpathAVProcessor`]): Its own.
        digest (`str`): Of all weights, see [`weights_digest`].
    """

    name: str
    checkpoint: str
    model: EmpathAVForCausalLM
    processor: EmpathAVProcessor
    digest: str


def parse_pair(text: str) -> tuple[str, str]:
    """
    `NAME=MODEL` to both.

    Raises:
        `ValueError`: it is written otherwise.
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
    """Loads a checkpoint, or an adapter with the checkpoint that it names as its base."""
    model, processor = load_checkpoint(checkpoint, device, dtype)
    return System(name, str(checkpoint), model.requires_grad_(False), processor, weights_digest(model))


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 of the names, types and values of all weights, adapters too, in the type in which they compute."""
    return content_key(dict(sorted(model.state_dict().items())))
