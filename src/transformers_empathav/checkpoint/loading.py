"""Loads EmpathAV checkpoints; the only loader of the package."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig

from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor


# Subfolder of a checkpoint with its speech recogniser.
ASR_FOLDER = "asr"


def default_device(device: str | torch.device | None = None) -> torch.device:
    """`device` if given, else CUDA if available, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def default_dtype(device: torch.device) -> torch.dtype | str:
    """float32 on a CPU, since few CPUs compute in bfloat16; otherwise the checkpoint's own dtype, `"auto"`."""
    return torch.float32 if device.type == "cpu" else "auto"


def load_checkpoint(
    checkpoint: str | os.PathLike, device: str | torch.device | None = None, dtype: torch.dtype | str | None = None
) -> tuple[EmpathAVForCausalLM, EmpathAVProcessor]:
    r"""
    Loads model and processor of a checkpoint, or of an adapter together with its base checkpoint.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory or Hub id.
        device (`str` or `torch.device`, *optional*): CUDA if available, else the CPU by default.
        dtype (`torch.dtype` or `str`, *optional*): Dtype of the weights; see [`default_dtype`].

    Returns:
        `tuple`: the model in evaluation mode on its device, and its processor.

    Raises:
        `ValueError`: If the checkpoint is damaged or of another kind of model.
        `OSError`: If there is no such checkpoint.
    """
    device = default_device(device)
    model = load_model(checkpoint, default_dtype(device) if dtype is None else dtype)
    return model.to(device).eval(), EmpathAVProcessor.from_pretrained(checkpoint)


def load_model(checkpoint: str | os.PathLike, dtype: torch.dtype | str) -> EmpathAVForCausalLM:
    """Loads the model alone, in evaluation mode; errors as in [`load_checkpoint`]."""
    path = Path(checkpoint)
    adapter = (path / "adapter_config.json").is_file()
    if path.parent.is_dir() and not adapter and not (path / "config.json").is_file():  # otherwise it may be a Hub id
        raise FileNotFoundError(f"There is no checkpoint at {checkpoint}: make one with `empathav assemble`.")
    if not adapter:
        check_config(checkpoint)
    try:
        return EmpathAVForCausalLM.from_pretrained(checkpoint, dtype=dtype)
    except SafetensorError as error:
        raise ValueError(f"The weights of {checkpoint} are damaged ({error}): assemble it again.") from None


def check_config(checkpoint: str | os.PathLike):
    """
    Checks that a checkpoint is one of EmpathAV.

    Raises:
        `ValueError`: If it is of another kind of model.
        `OSError`: If there is no such checkpoint.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except OSError as error:
        raise OSError(f"{checkpoint} is no directory, and the Hub does not give it: {error}") from None
    if not isinstance(config, EmpathAVConfig):
        raise ValueError(
            f"{checkpoint} is a checkpoint of {config.model_type!r}, not of EmpathAV: make one out of it "
            "with `empathav assemble`."
        )
