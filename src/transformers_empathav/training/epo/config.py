"""The arguments of EPO: those of TRL's DPO, and its own."""

from dataclasses import dataclass, field

import torch
from trl import DPOConfig


# Columns that recipes/counter_emotional.py writes for people and for comparisons; nothing reads them in training.
ANNOTATIONS = (
    "dialogue", "kind", "emotion", "emotion_by", "rejected_emotion", "emotional_distance", "contextual_similarity",
    "length_ratio", "candidates",
)  # fmt: skip


@dataclass
class EPOConfig(DPOConfig):
    r"""
    Arguments of [`EPOTrainer`]: those of `trl.DPOConfig` and those below. A plain `EPOConfig("out")` works on a CPU.

    Args:
        emotion_margin (`float`, *optional*, defaults to 0.0):
            Margin that grows with the emotional distance `d` of a pair: `-log sigmoid(beta * delta - emotion_margin *
            d)`, where `delta` is how much more the policy prefers the chosen reply than the reference does. 0 is DPO.
        distance_column (`str`, *optional*, defaults to `"emotional_distance"`):
            Column of `d`. Without a margin it need not be there; where it is, it is logged.
        weight_column (`str`, *optional*):
            Column of a weight for each pair, by which its loss is multiplied before the mean over pairs is taken.
            `"none"`, as `None`, is no weight: it overrules a configuration.
        ignored_columns (`list[str]`, *optional*):
            Columns that nothing need read, by default what recipes/counter_emotional.py writes beside the pairs. Any
            other column that nothing reads is an error.
        check_modalities (`bool`, *optional*, defaults to `True`):
            Whether the first step makes sure that all clips and all history of its batch reached the model.
        recent_turns (`int`, *optional*):
            Newest messages of a prompt that stay verbatim; the processor's own number by default.

    Other defaults than in `trl.DPOConfig`: `bf16` where CUDA has it and off on a CPU, `gradient_checkpointing` off (an
    8B-class model wants it), `learning_rate` 1e-5 (adapters), `remove_unused_columns` off (the collator needs them).
    An SFT term is TRL's `loss_type=["sigmoid", "sft"], loss_weights=[1.0, a]`.

    Raises:
        `ValueError`: margin or weights are asked for with a loss that has none, or the reference's log-probabilities
            shall be computed beforehand.
    """

    learning_rate: float = field(default=1e-5, metadata={"help": "The initial learning rate for AdamW."})
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "Whether the backward pass computes activations again, to save memory."},
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Off: the collator reads the columns."})
    emotion_margin: float = field(
        default=0.0, metadata={"help": "Margin of the loss for an emotional distance of 1; 0 is plain DPO."}
    )
    distance_column: str = field(
        default="emotional_distance", metadata={"help": "Column of the emotional distance of a pair."}
    )
    weight_column: str | None = field(
        default=None, metadata={"help": "Column of a weight for each pair; `none` for no weights."}
    )
    ignored_columns: list[str] = field(
        default_factory=lambda: list(ANNOTATIONS), metadata={"help": "Columns that nothing need read."}
    )
    check_modalities: bool = field(
        default=True, metadata={"help": "Whether the first step checks that clips and history reached the model."}
    )
    recent_turns: int | None = field(default=None, metadata={"help": "Messages verbatim; older ones are compressed."})

    def __post_init__(self):
        if self.weight_column == "none":
            self.weight_column = None
        if self.bf16 is None:
            self.bf16 = (
                not (self.fp16 or self.use_cpu) and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
            )
        super().__post_init__()
        if self.remove_unused_columns:
            raise ValueError(
                "remove_unused_columns would drop prompts and clips before the collator reads them: leave it off."
            )
        if self.precompute_ref_log_probs:
            raise ValueError(
                "precompute_ref_log_probs would keep values of other clips or another max_length: leave it off."
            )
        if self.changes_loss and "sigmoid" not in self.loss_type:
            raise ValueError(
                f"emotion_margin and weight_column change the sigmoid loss, and loss_type is {self.loss_type}: add "
                "'sigmoid' or leave them out."
            )
        if self.changes_loss and (
            self.f_divergence_type != "reverse_kl" or self.ld_alpha is not None or self.use_weighting
        ):
            raise ValueError(
                "emotion_margin and weight_column are defined for the plain sigmoid loss: leave f_divergence_type, "
                "ld_alpha and use_weighting as they are."
            )

    @property
    def changes_loss(self) -> bool:
        """Whether the loss is another than TRL's."""
        return self.emotion_margin != 0.0 or self.weight_column is not None
