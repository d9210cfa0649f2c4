"""The arguments of EPO: those of TRL's DPO, and its own."""

from dataclasses import dataclass, field

import torch
from trl import DPOConfig


# Columns that recipes/counter_emotional.py writes for people and for comparisons; nothing reads them in training.
ANNOTATIONS = (
    "dialogue", "kind", "exchange", "emotion", "emotion_by", "rejected_emotion", "emotional_distance",
    "contextual_similarity", "length_ratio", "candidates",
)  # fmt: skip


# Options of TRL and of `Trainer` that would change nothing here: the values that ask for nothing, and what to do.
WITHOUT_EFFECT = {
    "model_init_kwargs": ((None,), "the model is given loaded: say it to from_pretrained"),
    "trust_remote_code": ((False,), "model and processor are given loaded: say it to from_pretrained"),
    "router_aux_loss_coef": ((None, 0.0), "the loss that balances experts is not computed"),
    "dataset_num_proc": ((None,), "rows are encoded batch by batch: dataloader_num_workers sets the processes"),
    "truncation_mode": (("keep_start",), "nothing is cut: older messages become memory, and long rows are left out"),
    "padding_free": ((False,), "TRL has taken it out for the time being"),
    "precompute_ref_log_probs": ((False,), "it would keep values of other clips or another max_length"),
    "precompute_ref_batch_size": ((None,), "the reference is computed with each batch"),
    "pad_token": ((None,), "set processor.tokenizer.pad_token"),
    "use_liger_kernel": ((False,), "its kernels do not know this model"),
    "remove_unused_columns": ((False,), "it would drop prompts and clips before the collator reads them"),
    "label_smoothing_factor": ((0.0,), "it is for losses of one label; DPO's is label_smoothing"),
}


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
            Whether it is checked that sound, frames and history reach the model, until each was seen once.
        recent_turns (`int`, *optional*):
            Newest messages of a prompt that stay verbatim; the processor's own number by default.

    Other defaults than in `trl.DPOConfig`: `bf16` where CUDA has it and off on a CPU, `gradient_checkpointing` off (an
    8B-class model wants it), `learning_rate` 1e-5 (adapters), `remove_unused_columns` off (the collator needs them).
    An SFT term is TRL's `loss_type=["sigmoid", "sft"], loss_weights=[1.0, a]`. Options that would change nothing here
    are refused (`WITHOUT_EFFECT`).

    Raises:
        `ValueError`: margin or weights are asked for with a loss that has none, or an option that has no effect.
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
        default=True, metadata={"help": "Whether it is checked that clips and history reach the model."}
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
        for name, (nothing, instead) in WITHOUT_EFFECT.items():
            if getattr(self, name) not in nothing:
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect in EPO, so leave it out: {instead}.")
        if self.activation_offloading and not torch.accelerator.is_available():
            raise ValueError(
                "activation_offloading moves what a GPU keeps to the CPU, and there is none: leave it off."
            )
        self.router_aux_loss_coef = 0.0  # TRL would take the language model's own
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
