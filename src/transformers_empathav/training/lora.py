"""The configuration of LoRA on the language model alone."""

import re
from collections.abc import Sequence

from peft import LoraConfig

from ..checkpoint.linear_layers import LANGUAGE_MODEL, layers_pattern


PROJECTIONS = ("extractor.embedding_projection", "compressor.embedding_projection")


def language_model_lora(
    r: int = 8,
    alpha: int | None = None,
    dropout: float = 0.0,
    layers: Sequence[str] | None = None,
    projections: Sequence[str] = (),
    **options,
) -> LoraConfig:
    r"""
    A `LoraConfig` (arXiv 2106.09685) for the language model. A plain list of names would also adapt the audio and the
    vision encoder, whose layers have the same names.

    Args:
        r (`int`): Rank.
        alpha (`int`, *optional*): Scale of the update, as `alpha / r`; twice the rank by default.
        dropout (`float`): Of the adapter's input.
        layers (`Sequence[str]`, *optional*):
            Last names of the linear layers that are adapted; by default all linear layers, whatever the family of the
            language model calls them.
        projections (`Sequence[str]`): Which of `PROJECTIONS` are trained whole besides.
        options: Further arguments of `LoraConfig`.

    Raises:
        `ValueError`: a projection is unknown.
    """
    if unknown := [name for name in projections if name not in PROJECTIONS]:
        raise ValueError(f"{', '.join(unknown)} cannot be trained beside LoRA: there are {', '.join(PROJECTIONS)}.")
    outside = rf"(?!{re.escape(LANGUAGE_MODEL)}).*"
    return LoraConfig(
        r=r,
        lora_alpha=2 * r if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=layers_pattern(layers) if layers else "all-linear",
        exclude_modules=None if layers else outside,
        modules_to_save=list(projections) or None,
        task_type="CAUSAL_LM",
        **options,
    )
