"""Arguments that every training recipe shares: the checkpoint, how it is loaded, and where a run goes on."""

import logging
from collections.abc import Sized
from dataclasses import dataclass, field, fields
from typing import TypeVar

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy
from trl import TrlParser

from ..checkpoint.loading import load_model
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from .checkpoints import checkpoint_problems, last_complete_checkpoint


logger = logging.getLogger(__name__)
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
Groups = TypeVar("Groups")


@dataclass
class ModelArguments:
    r"""
    The checkpoint of a training, and how it is loaded.

    Args:
        checkpoint (`str`, *optional*): Directory or Hub id.
        llm_dtype (`str`, *optional*, defaults to `"bfloat16"`): Type of the frozen weights, one of `DTYPES`.
        attn_implementation (`str`, *optional*): Attention of the language model; the one that it chooses by default.

    Raises:
        `ValueError`: `llm_dtype` is unknown.
    """

    checkpoint: str | None = field(default=None, metadata={"help": "EmpathAV checkpoint, a directory or a Hub id."})
    llm_dtype: str = field(
        default="bfloat16",
        metadata={"help": "Type of the frozen weights: bfloat16, float16, or float32 where a CPU is faster in it."},
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={"help": "Attention of the language model; eager where the backward pass of sdpa is slow."},
    )

    def __post_init__(self):
        if self.llm_dtype not in DTYPES:
            raise ValueError(f"llm_dtype is {self.llm_dtype!r}, which is no type of weights: say {', '.join(DTYPES)}.")

    def load(self) -> tuple[EmpathAVForCausalLM, EmpathAVProcessor]:
        """
        Loads the checkpoint, all of it frozen. A training then unfreezes the part that it trains.

        Returns:
            `tuple`: the model on the CPU, in evaluation mode, and its processor.

        Raises:
            `ValueError`: no checkpoint is named, or it is of another kind of model.
            `OSError`: there is no such checkpoint.
        """
        if self.checkpoint is None:
            raise ValueError("No checkpoint is named, so there is nothing to train: give one under `checkpoint`.")
        model = load_model(self.checkpoint, DTYPES[self.llm_dtype]).requires_grad_(False)
        if self.attn_implementation is not None:
            model.model.language_model.set_attn_implementation(self.attn_implementation)
        return model, EmpathAVProcessor.from_pretrained(self.checkpoint)


def parse_groups(kind: type[Groups], arguments: list[str] | None = None) -> Groups:
    r"""
    Parses a dataclass whose fields are groups of options. The options of all groups stand side by side on the command
    line and in the YAML file that `--config` names.

    Args:
        kind (`type`): A dataclass whose fields are dataclasses, no two of them with an option of the same name.
        arguments (`list[str]`, *optional*): The command line by default.
    """
    return kind(*TrlParser([group.type for group in fields(kind)]).parse_args_and_config(arguments))


def resumes(training: TrainingArguments) -> bool:
    """Whether `--resume_from_checkpoint` was given, as `true` or as a path."""
    return training.resume_from_checkpoint not in (None, False, "false", "False")


def resume_from(training: TrainingArguments) -> str | None:
    """
    The checkpoint that `--resume_from_checkpoint` means, for `trainer.train`. A path means itself, and `true` the
    newest complete checkpoint of the output directory, or none where there is none yet.

    Raises:
        `ValueError`: the checkpoint that a path names is not complete.
    """
    if not resumes(training):
        return None
    named = training.resume_from_checkpoint
    if named in (True, "true", "True"):
        return last_complete_checkpoint(training.output_dir)
    if problems := checkpoint_problems(named):
        raise ValueError(
            f"A run cannot go on from {named}: {', '.join(problems)}. Name another checkpoint under "
            "resume_from_checkpoint, or say true for the newest complete one."
        )
    return named


def evaluated(training: TrainingArguments, held_out: Sized, what: str) -> Sized | None:
    r"""
    What a trainer evaluates: `held_out`. Where that is empty, evaluation is switched off and a log line says so.

    Args:
        training (`TrainingArguments`): Changed where there is nothing to evaluate.
        held_out (`Sized`): Rows, or sets of rows by name.
        what (`str`): What is missing, for the log line.
    """
    if len(held_out):
        return held_out
    if training.eval_strategy != IntervalStrategy.NO:
        logger.warning(f"There is no evaluation, since there are no {what}.")
        training.eval_strategy, training.load_best_model_at_end = IntervalStrategy.NO, False
    return None
