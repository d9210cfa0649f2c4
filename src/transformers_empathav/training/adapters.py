"""Adapters of the recipes: begun, saved so that the auto classes load them, merged."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import PartialState
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from .feature_cache import FeatureCache
from .lora import LINEAR_LAYERS, language_model_lora


WEIGHTS = "adapter_model.safetensors"


@dataclass
class AdapterArguments:
    """What every recipe that trains an adapter is asked."""

    checkpoint: str | None = field(default=None, metadata={"help": "EmpathAV checkpoint, a directory or a Hub id."})
    tiny: bool = field(
        default=False, metadata={"help": "Make a tiny random checkpoint, clips and rows in the output directory."}
    )
    base_model: str | None = field(
        default=None,
        metadata={"help": "Hub id that the adapter names as its base; the directory of the checkpoint by default."},
    )
    adapter: str | None = field(default=None, metadata={"help": "Trained adapter to go on with."})
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapter."})
    lora_alpha: int | None = field(default=None, metadata={"help": "Its scale; twice the rank by default."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout of its input."})
    lora_layers: list[str] = field(
        default_factory=lambda: list(LINEAR_LAYERS), metadata={"help": "Linear layers of the language model."}
    )
    projections: list[str] = field(
        default_factory=list,
        metadata={"help": "extractor.embedding_projection, compressor.embedding_projection: trained besides."},
    )
    cache: str | None = field(default=None, metadata={"help": "Folder of frozen features of clips."})
    llm_dtype: str = field(
        default="bfloat16", metadata={"help": "Of the frozen weights; float32 where a CPU is faster in it."}
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Of the language model; eager where the backward pass of sdpa is slow."}
    )
    merge: bool = field(default=False, metadata={"help": "Whether a merged checkpoint is written too, to `merged`."})

    def lora(self) -> LoraConfig:
        """The configuration of a fresh adapter."""
        return language_model_lora(self.lora_r, self.lora_alpha, self.lora_dropout, self.lora_layers, self.projections)


def load_base(arguments: AdapterArguments, push_to_hub: bool = False) -> tuple[EmpathAVForCausalLM, EmpathAVProcessor]:
    """
    The frozen checkpoint and its processor.

    Raises:
        `ValueError`: no checkpoint is named, or an adapter that goes to the Hub would name a local directory as its
            base.
    """
    if arguments.checkpoint is None:
        raise ValueError("There is nothing to train on: name a `checkpoint`, or say `tiny` to try the recipe.")
    # An adapter says what it belongs to: a relative path would be right in one working directory alone.
    local = Path(arguments.checkpoint)
    if push_to_hub and local.is_dir() and arguments.base_model is None:
        raise ValueError(
            f"The adapter would name {local} as its base, which nobody else has: give the Hub id of that checkpoint "
            "as `base_model`."
        )
    model = EmpathAVForCausalLM.from_pretrained(arguments.checkpoint, dtype=getattr(torch, arguments.llm_dtype))
    model.requires_grad_(False)
    if arguments.attn_implementation is not None:
        model.model.language_model.set_attn_implementation(arguments.attn_implementation)
    model.name_or_path = model.config._name_or_path = arguments.base_model or (
        str(local.resolve()) if local.is_dir() else arguments.checkpoint
    )
    return model, EmpathAVProcessor.from_pretrained(arguments.checkpoint)


def with_adapter(model: EmpathAVForCausalLM, arguments: AdapterArguments) -> PeftModel:
    """The model with a fresh adapter, or with the one to go on with."""
    if arguments.adapter is None:
        return get_peft_model(model, arguments.lora())
    adapted = PeftModel.from_pretrained(model, arguments.adapter, is_trainable=True)
    adapted.peft_config["default"].base_model_name_or_path = model.name_or_path
    return adapted


def feature_cache(model: EmpathAVForCausalLM, processor: EmpathAVProcessor, folder: str | None) -> FeatureCache | None:
    """A cache of frozen features, where a folder is given."""
    return None if folder is None else FeatureCache(model.model.extractor, processor, folder)


def resume_from(training: TrainingArguments) -> str | None:
    """The checkpoint that `--resume_from_checkpoint` means: a path, or with `true` the last one, if there is any."""
    asked, directory = training.resume_from_checkpoint, Path(training.output_dir)
    if asked in (None, False, "false", "False"):
        return None
    if asked in (True, "true", "True"):
        return get_last_checkpoint(directory) if directory.is_dir() else None
    return asked


def finish(
    trainer: Trainer,
    processor: EmpathAVProcessor,
    merge_into: str | None = None,
    dtype: torch.dtype = torch.bfloat16,
):
    r"""
    Writes the output directory of a recipe: the adapter in `dtype`, the processor and the card. The auto classes load
    the directory as they load a checkpoint; its frozen weights are those of the base that the adapter names.

    Args:
        merge_into (`str`, *optional*): Checkpoint of which a copy with the adapter in its weights goes to `merged`.
    """
    trainer.save_model()
    directory = Path(trainer.args.output_dir)
    if trainer.is_world_process_zero():
        shutil.rmtree(directory / "ref", ignore_errors=True)  # the adapter that training began from
        weights = {name: tensor.to(dtype) for name, tensor in load_file(directory / WEIGHTS).items()}
        save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
        processor.save_pretrained(directory)
        trainer.create_model_card()
        if merge_into is not None:
            merged(merge_into, directory).save_pretrained(directory / "merged")
            processor.save_pretrained(directory / "merged")
    PartialState().wait_for_everyone()
    if trainer.args.push_to_hub:
        trainer.push_to_hub()


def merged(checkpoint: str, adapter: str | os.PathLike) -> EmpathAVForCausalLM:
    """A checkpoint with an adapter in its weights: added in float32, rounded once to the checkpoint's own types."""
    exact = EmpathAVForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    exact = PeftModel.from_pretrained(exact, adapter).merge_and_unload()
    model = EmpathAVForCausalLM.from_pretrained(checkpoint)
    model.load_state_dict(exact.state_dict())
    return model


def base_model(model):
    """The [`EmpathAVForCausalLM`] itself, without adapters around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
