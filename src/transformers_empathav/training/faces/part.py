"""A trained face tower in one small file: its convolutions in bfloat16, the rest exact, and its configuration."""

import json
import os

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ...modeling.configuration_empathav import FaceEncoderConfig
from ...modeling.face_encoder_empathav import FaceEncoder
from ...modeling.file_writing_empathav import write_file


PART_FILE = "face.safetensors"
CONFIG_KEY = "face_encoder"


def save_face(model: FaceEncoder, path: str | os.PathLike):
    """Writes a tower: weights of convolutions in bfloat16; biases, norms and what they counted exactly."""
    state = {
        name: (tensor.to(torch.bfloat16) if tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_file(path, save(state, metadata={CONFIG_KEY: model.config.to_json_string(use_diff=True)}))


def load_face(path: str | os.PathLike) -> FaceEncoder:
    """
    A tower in float32, for inference.

    Raises:
        `ValueError`: the file is damaged, holds something else, or does not fit its own configuration.
    """
    try:
        with safe_open(str(path), "pt") as file:
            config = json.loads((file.metadata() or {}).get(CONFIG_KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or train it again.") from None
    if config is None:
        raise ValueError(f"{path} is no face tower of recipes/face.py: it has no configuration of one.")
    model = FaceEncoder(FaceEncoderConfig(**config))
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if own != {name: tensor.shape for name, tensor in state.items()}:
        raise ValueError(f"{path} does not fit its own configuration: it was written by another version.")
    model.load_state_dict(state)
    return model.eval()
