"""Keeps adapters within the language model: encoders, extractor and compressor have layers of the same names."""

import copy
import re

from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers.utils import logging


logger = logging.get_logger(__name__)

OUTSIDE = r"(.*\.)?(extractor|compressor)\..*"
ALL_LINEAR = "all-linear"
HOW_TO_ADAPT = "A pattern in target_modules that names extractor or compressor adapts them."


def within_language_model(model: nn.Module, config: PeftConfig) -> PeftConfig:
    r"""
    The configuration of a fresh adapter without layers of extractor and compressor, which a list such as `["q_proj",
    "v_proj"]` and `"all-linear"` would hit too. A log line counts them. A pattern that names `extractor` or
    `compressor` means what it says and is left as it is.

    Args:
        model ([`EmpathAVForCausalLM`]): What the adapter is for.
        config (`PeftConfig`): Is not changed.
    """
    target = getattr(config, "target_modules", None)
    if target is None or means_outside(config):
        return config
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    hit = linear if target == ALL_LINEAR else [name for name in linear if check_target_module_exists(config, name)]
    outside = [name for name in hit if re.fullmatch(OUTSIDE, name)]
    if not outside:
        return config
    logger.warning(
        f"The adapter goes on the language model alone: {len(outside)} layers of extractor and compressor, such as "
        f"{outside[0]}, are left out. {HOW_TO_ADAPT}"
    )
    config = copy.deepcopy(config)
    config.exclude_modules = joined(config.exclude_modules)
    return config


def take_outside_off(model: PeftModel):
    """
    Takes a fresh LoRA adapter off extractor and compressor, where nobody has asked for it ([`within_language_model`]).
    A log line counts the layers. A trained adapter stays where it is, since it would be another one without them.
    """
    config = model.active_peft_config
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and re.fullmatch(OUTSIDE, name)
    }
    if means_outside(config) or not layers:
        return
    if any(tensor.weight.any() for layer in layers.values() for tensor in layer.lora_B.values()):
        logger.warning(f"The adapter is trained on {len(layers)} layers of extractor and compressor, too: they stay.")
        return
    for name, layer in layers.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer.get_base_layer())
    config.exclude_modules = joined(config.exclude_modules)
    logger.warning(
        f"The adapter is taken off {len(layers)} layers of extractor and compressor, such as {next(iter(layers))}: it "
        f"goes on the language model alone. {HOW_TO_ADAPT}"
    )


def means_outside(config: PeftConfig) -> bool:
    """Whether the target of an adapter is a pattern that names extractor or compressor."""
    target = getattr(config, "target_modules", None)
    return isinstance(target, str) and ("extractor" in target or "compressor" in target)


def joined(excluded: str | set[str] | list[str] | None) -> str:
    """A pattern for what is excluded already and for all of extractor and compressor."""
    if not excluded:
        return OUTSIDE
    own = excluded if isinstance(excluded, str) else rf"(.*\.)?({'|'.join(map(re.escape, sorted(excluded)))})"
    return f"({OUTSIDE})|({own})"
