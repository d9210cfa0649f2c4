"""Small things that many tests share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from transformers_empathav.chat.writing import Written


RECIPES = Path(__file__).parent.parent / "recipes"


def load_recipe(name: str) -> ModuleType:
    """A recipe as a module, its `main` not run."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """max|a-b| / max|b|."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).abs().max() / b.abs().max())


def wake(model, scale: float = 50.0):
    """Undoes the harmless start of the new parts, so that an input that is lost or swapped moves the logits."""
    with torch.no_grad():
        for part in (model.model.extractor, model.model.compressor):
            part.embedding_projection.linear.weight.mul_(scale)
    return model


def short_labels(model):
    """One token for each emotion: a tiny tokenizer's bytes would take a pass for every letter."""
    model.config.emotion_label_ids = [[20 + label] for label in range(len(model.config.emotion_labels))]
    return model


def sound(seed: int, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """A chord of its own for each seed, `(samples,)`."""
    pitches = np.random.default_rng(seed).uniform(100, 4000, 3)
    return (
        (0.2 * np.sin(2 * np.pi * pitches[:, None] * np.arange(int(seconds * rate)) / rate)).sum(0).astype(np.float32)
    )


def frames(seed: int, count: int = 3, size: int = 64) -> np.ndarray:
    """Sixteen grey patches of their own for each seed, repeated, `(count, size, size, 3)`."""
    patches = np.random.default_rng(seed).integers(0, 255, (1, 4, 4, 1), dtype=np.uint8)
    return patches.repeat(size // 4, 1).repeat(size // 4, 2).repeat(3, 3).repeat(count, 0)


def user(*parts, **fields) -> dict:
    """A user message of strings and clips: `("video", array)` or `("audio", array)`."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": part[0], part[0]: part[1]}
        for part in parts
    ]
    return {"role": "user", "content": content, **fields}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def encode(processor, *conversations, **kwargs):
    """Inputs of the model for a batch of conversations, with the prompt for a reply."""
    return processor.apply_chat_template(
        list(conversations), add_generation_prompt=True, tokenize=True, return_dict=True, **kwargs
    )


def writes(*words: str):
    """Stands in for [`Responder.write`]: word by word, and the whole."""

    def write(inputs, cache, **options):
        yield words[0]
        yield from (" " + word for word in words[1:])
        return Written(" ".join(words), 4, 0, "stop")

    return write
