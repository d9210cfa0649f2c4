"""Loads EmpathAV checkpoints; the only loader of the package."""

import os
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import cached_file, logging

from ..hub.card_facts import ASSEMBLY_FILE, read_json
from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from .adapter import ADAPTER_WEIGHTS, apply_adapter_settings
from .trained_parts import TRAINED_PARTS, part_file, what_is_untrained


logger = logging.get_logger(__name__)

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
    Loads model and processor of a checkpoint, or of an adapter together with its base checkpoint. Says so where
    extractor or compressor are untrained.

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
    if untrained := untrained_parts(model.name_or_path):  # of the base, where the checkpoint is an adapter
        logger.warning(f"{checkpoint}: {what_is_untrained(untrained)}.")
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
        model = EmpathAVForCausalLM.from_pretrained(checkpoint, dtype=dtype)
    except SafetensorError as error:
        raise ValueError(f"The weights of {checkpoint} are damaged ({error}): assemble it again.") from None
    if getattr(model, "_hf_peft_config_loaded", False):  # set by transformers, which reads the weights alone
        apply_adapter_settings(model, cached_file(str(checkpoint), ADAPTER_WEIGHTS))
    return model


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


def untrained_parts(checkpoint: str | os.PathLike) -> list[str]:
    """Names of the parts that a checkpoint was assembled without; none of one that says nothing about them."""
    path = Path(checkpoint) / ASSEMBLY_FILE
    if not Path(checkpoint).is_dir():
        try:
            path = Path(hf_hub_download(str(checkpoint), ASSEMBLY_FILE))
        except OSError:  # it has none, or the Hub does not answer
            return []
    trained = read_json(path).get("trained") if path.is_file() else None
    return [] if trained is None else [part for part in TRAINED_PARTS if part_file(part) not in trained]


def own_recogniser(checkpoint: str | os.PathLike) -> str | None:
    r"""
    The speech recogniser that a checkpoint brings, its subfolder `asr`. That of a checkpoint on the Hub is downloaded.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory or Hub id.

    Returns:
        `str`, *optional*: a directory that transformers loads, or `None` if there is no recogniser.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(checkpoint), allow_patterns=f"{ASR_FOLDER}/*"))
        except OSError as error:
            logger.warning(f"The speech recogniser of {checkpoint} could not be fetched: {error}")
            return None
    return str(folder / ASR_FOLDER) if (folder / ASR_FOLDER / "config.json").is_file() else None
