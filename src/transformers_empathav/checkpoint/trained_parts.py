"""The trained parts of a model, each saved as one safetensors file without the frozen encoders."""

import json
import os

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from transformers import PreTrainedTokenizerBase

from ..modeling.file_writing_empathav import write_file
from ..modeling.modeling_empathav import EmpathAVForCausalLM


# Each with what holds while it is untrained.
TRAINED_PARTS = {
    "compressor": "its memory carries nothing of what was said",
    "extractor": "the emotions of its clips are guesses",
}
# Parts that are no part of the model: a checkpoint carries their files as they are.
CARRIED_PARTS = ("danger.safetensors",)
# Token whose embedding untrained vectors resemble: a few more of it hardly change the language model's answer.
ANCHOR_TEXT = ","
# What the configuration has to say for a trained part, and its defaults. It stands beside the weights.
PART_SETTINGS = {
    "compressor": {"carry_state": True},
    "extractor": {"emotion_temperature": 1.0, "emotion_threshold": 0.5, "pad_audio": True},
}


def part_file(part: str) -> str:
    """File name of a part."""
    return f"{part}.safetensors"


def what_is_untrained(parts: list[str]) -> str:
    """What a user must know of a checkpoint whose `parts` are untrained, in one line."""
    return (
        f"{' and '.join(parts)} {'are' if len(parts) > 1 else 'is'} untrained, so "
        f"{' and '.join(TRAINED_PARTS[part] for part in parts)}: train by "
        f"{' and '.join(f'recipes/{part}.py' for part in parts)}, or lay trained parts over with `empathav assemble "
        "--trained`"
    )


def trained_tensors(model: EmpathAVForCausalLM, part: str) -> dict[str, torch.Tensor]:
    """State dict of `part`, one of `TRAINED_PARTS`, without frozen encoders."""
    state = getattr(model.model, part).state_dict()
    return {name: tensor for name, tensor in state.items() if "_tower." not in name}


def fit_new_part(model: EmpathAVForCausalLM, part: str, tokenizer: PreTrainedTokenizerBase):
    """
    Makes the output vectors of an untrained part resemble the language model's input embeddings, in scale and
    direction. Call after creating or re-initialising a part.
    """
    *_, anchor_id = tokenizer(ANCHOR_TEXT, add_special_tokens=False)["input_ids"]
    own = getattr(model.model, part)
    fitted = own.embedding_projection if part == "extractor" else own
    fitted.fit_to(model.get_input_embeddings().weight, anchor_id)


def renew_part(model: EmpathAVForCausalLM, part: str, tokenizer: PreTrainedTokenizerBase):
    r"""
    Re-initialises a part by torch's random seed; frozen encoders stay. Call before training from scratch.

    Without it training starts from the weights of the checkpoint, which may have been trained on the test data.
    """
    own = getattr(model.model, part)
    fresh = type(own)(model.config).state_dict()
    own.load_state_dict({name: fresh[name] for name in trained_tensors(model, part)}, strict=False)
    apply_settings(model, part, {})
    fit_new_part(model, part, tokenizer)


def save_part(model: EmpathAVForCausalLM, part: str, path: str | os.PathLike, dtype: torch.dtype | None = None):
    """
    Saves a part to a file, in one step, with its `PART_SETTINGS` of the configuration. Parameters are cast to `dtype`
    if given; buffers, which were fitted to data, are not.
    """
    parameters = dict(getattr(model.model, part).named_parameters())
    state = {
        name: tensor.to(dtype) if dtype is not None and name in parameters else tensor
        for name, tensor in trained_tensors(model, part).items()
    }
    settings = {name: getattr(model.config, name) for name in PART_SETTINGS[part]}
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    write_file(path, save(contiguous, {"settings": json.dumps(settings)}))


def load_part(model: EmpathAVForCausalLM, part: str, path: str | os.PathLike):
    """
    Loads a part from a file into a model.

    Raises:
        `ValueError`: If the file is damaged, or of another configuration.
    """
    try:
        trained = load_file(str(path))
        with safe_open(str(path), framework="pt") as file:
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or train it again.") from None
    own = trained_tensors(model, part)
    problems = {
        "missing": [name for name in own if name not in trained],
        "unknown": [name for name in trained if name not in own],
        "of another shape": [name for name in trained if name in own and trained[name].shape != own[name].shape],
    }
    if any(problems.values()):
        listed = "; ".join(f"{problem}: {', '.join(names[:3])}" for problem, names in problems.items() if names)
        raise ValueError(f"{path} does not fit this model ({listed}): it was trained with another configuration.")
    getattr(model.model, part).load_state_dict(trained, strict=False)
    apply_settings(model, part, settings)
    if part == "compressor":
        model.config.compressor_fingerprint = None  # save_pretrained sets it again


def apply_settings(model: EmpathAVForCausalLM, part: str, settings: dict):
    """Writes the settings of a part into the configuration, defaults for those that are not given."""
    for name, value in {**PART_SETTINGS[part], **settings}.items():
        setattr(model.config, name, value)
