"""Adapters (PEFT) of a checkpoint: what stands beside their weights, and how they are merged into it."""

import json
import os
from pathlib import Path

from safetensors import safe_open

from ..modeling.modeling_empathav import EmpathAVForCausalLM


ADAPTER_WEIGHTS = "adapter_model.safetensors"
# What an adapter says of the configuration. The language model reads the emotion out of the extractor's vectors, and a
# tuned one is more or less sure of it than the one before.
SETTINGS = ("emotion_temperature", "emotion_threshold")


def adapter_weights(directory: str | os.PathLike) -> Path:
    """Path of the weights of a PEFT adapter. Raises a `ValueError` if there are none."""
    path = Path(directory) / ADAPTER_WEIGHTS
    if not path.is_file():
        raise ValueError(f"There is no adapter at {directory}: give a directory with {path.name}.")
    return path


def adapter_metadata(settings: dict | None = None) -> dict[str, str]:
    """
    The metadata of a file of adapter weights, with `settings` that [`apply_adapter_settings`] reads.

    Raises:
        `ValueError`: a setting is none that an adapter may change.
    """
    if unknown := set(settings or {}) - set(SETTINGS):
        raise ValueError(f"An adapter does not change {', '.join(sorted(unknown))}, only {', '.join(SETTINGS)}.")
    return {"format": "pt", **({"settings": json.dumps(settings)} if settings else {})}


def apply_adapter_settings(model: EmpathAVForCausalLM, weights: str | os.PathLike):
    """Writes what an adapter's file says of the configuration into that of its model; a file may say nothing."""
    with safe_open(str(weights), framework="pt") as file:
        settings = json.loads((file.metadata() or {}).get("settings", "{}"))
    for name in SETTINGS:
        if name in settings:
            setattr(model.config, name, settings[name])


def merge_adapter(model: EmpathAVForCausalLM, directory: str | os.PathLike) -> EmpathAVForCausalLM:
    """
    Merges an adapter into the model's weights, and its settings into the configuration. Raises a `ValueError` if it
    was trained on another model.
    """
    from peft import PeftConfig, PeftModel
    from safetensors.torch import load_file

    path = adapter_weights(directory)
    weights = load_file(path)
    adapted = PeftModel(model, PeftConfig.from_pretrained(str(directory)))
    own = {name.replace(".default.", "."): tensor.shape for name, tensor in adapted.state_dict().items()}
    if strange := [name for name, tensor in weights.items() if own.get(name) != tensor.shape]:
        raise ValueError(
            f"The adapter {directory} does not fit this model ({', '.join(strange[:3])}): it was trained on another."
        )
    adapted.load_adapter(str(directory), "default")
    merged = adapted.merge_and_unload()
    apply_adapter_settings(merged, path)
    return merged
