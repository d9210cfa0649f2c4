"""The configuration of LoRA on the language model alone."""

from collections.abc import Sequence

from peft import LoraConfig


# As Llama, SmolLM, Mistral, Qwen and Gemma call the linear layers of a block.
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PROJECTIONS = ("extractor.embedding_projection", "compressor.embedding_projection")


def language_model_lora(
    r: int = 8,
    alpha: int | None = None,
    dropout: float = 0.0,
    layers: Sequence[str] = LINEAR_LAYERS,
    projections: Sequence[str] = (),
    **options,
) -> LoraConfig:
    r"""
    A `LoraConfig` (arXiv 2106.09685) for the language model. A plain list of names would also adapt the audio and the
    vision encoder, whose layers have the same names, so layers are named by a pattern.

    Args:
        r (`int`): Rank.
        alpha (`int`, *optional*): Scale of the update, as `alpha / r`; twice the rank by default.
        dropout (`float`): Of the adapter's input.
        layers (`Sequence[str]`): Names of the linear layers that are adapted.
        projections (`Sequence[str]`): Which of `PROJECTIONS` are trained whole besides.
        options: Further arguments of `LoraConfig`.

    Raises:
        `ValueError`: a projection is unknown.
    """
    if unknown := [name for name in projections if name not in PROJECTIONS]:
        raise ValueError(f"{', '.join(unknown)} cannot be trained beside LoRA: there are {', '.join(PROJECTIONS)}.")
    return LoraConfig(
        r=r,
        lora_alpha=2 * r if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=rf"model\.language_model\..*\.({'|'.join(layers)})",
        modules_to_save=list(projections) or None,
        task_type="CAUSAL_LM",
        **options,
    )
