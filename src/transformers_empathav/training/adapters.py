"""Adapters (LoRA) on the language model: how one begins, is saved for the auto classes, published, and merged."""

import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import PartialState
from huggingface_hub import HfApi
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save
from transformers import Trainer

from ..checkpoint.adapter import ADAPTER_WEIGHTS, SETTINGS, adapter_metadata, merge_adapter
from ..checkpoint.linear_layers import describe_layers, linear_layers
from ..checkpoint.loading import load_model
from ..hub.card import read_facts
from ..hub.push import push
from ..modeling.file_writing_empathav import write_file
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from .arguments import ModelArguments
from .feature_cache import FeatureCache
from .lora import language_model_lora


logger = logging.getLogger(__name__)


@dataclass
class AdapterArguments(ModelArguments):
    """What each recipe that trains an adapter is asked: the checkpoint, the adapter, and what is written."""

    tiny: bool = field(
        default=False, metadata={"help": "Make a tiny random checkpoint, clips and rows in the output directory."}
    )
    base_model: str | None = field(
        default=None,
        metadata={"help": "Hub id that the adapter names as its base; the directory of the checkpoint by default."},
    )
    facts: str | None = field(
        default=None, metadata={"help": "YAML of what only you know for the card: licence, data; see docs/hub.md."}
    )
    adapter: str | None = field(default=None, metadata={"help": "Trained adapter to go on with."})
    lora_r: int = field(default=8, metadata={"help": "Rank of a fresh adapter."})
    lora_alpha: int | None = field(default=None, metadata={"help": "Its scale; twice the rank by default."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout of its input."})
    lora_layers: list[str] = field(
        default_factory=list,
        metadata={"help": "Last names of linear layers of the language model, such as q_proj; all by default."},
    )
    projections: list[str] = field(
        default_factory=list,
        metadata={"help": "extractor.embedding_projection, compressor.embedding_projection: trained besides."},
    )
    cache: str | None = field(default=None, metadata={"help": "Folder of frozen features of clips."})
    reading_clips: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Clip corpora on which the tuned language model is made as sure of an emotion as the one before."
        },
    )
    merge: bool = field(default=False, metadata={"help": "Whether a merged checkpoint is written too, to `merged`."})

    def card_facts(self) -> dict:
        """What `facts` says, as [`read_facts`] reads it; nothing without such a file."""
        return {} if self.facts is None else read_facts(self.facts)

    def lora(self, model: EmpathAVForCausalLM) -> LoraConfig:
        """The configuration of a fresh adapter of `model`. Logs what it hits, and what of the language model stays."""
        layers = self.lora_layers or linear_layers(model)
        logger.info(describe_layers(model, layers))
        return language_model_lora(self.lora_r, self.lora_alpha, self.lora_dropout, layers, self.projections)


def load_base(arguments: AdapterArguments, push_to_hub: bool = False) -> tuple[EmpathAVForCausalLM, EmpathAVProcessor]:
    """
    Loads the frozen checkpoint and its processor. The adapter will name `base_model`, or else this checkpoint, as its
    base.

    Args:
        push_to_hub (`bool`, *optional*, defaults to `False`): Whether the adapter will be published.

    Raises:
        `ValueError`: no checkpoint is named; or an adapter that will be published would name a local directory, or
            have a card without licence or data.
    """
    local = arguments.checkpoint is not None and Path(arguments.checkpoint).is_dir()
    if push_to_hub and local and arguments.base_model is None:
        raise ValueError(
            f"The adapter would name {arguments.checkpoint} as its base, which nobody else has: give the Hub id of "
            "that checkpoint as `base_model`."
        )
    facts = arguments.card_facts()
    if push_to_hub and not (facts.get("licence") and facts.get("datasets")):
        raise ValueError(
            "What is published needs a card that says its licence and its data: write both into a file as docs/hub.md "
            "shows, and name it under `facts`."
        )
    model, processor = arguments.load()
    # A relative path would be right in one working directory alone.
    own_name = str(Path(arguments.checkpoint).resolve()) if local else arguments.checkpoint
    model.name_or_path = model.config._name_or_path = arguments.base_model or own_name
    return model, processor


def with_adapter(model: EmpathAVForCausalLM, arguments: AdapterArguments) -> PeftModel:
    """Puts a fresh adapter on the model, or the trained one that `adapter` names, to train it further."""
    if arguments.adapter is None:
        return get_peft_model(model, arguments.lora(model))
    adapted = PeftModel.from_pretrained(model, arguments.adapter, is_trainable=True)
    adapted.peft_config["default"].base_model_name_or_path = model.name_or_path
    return adapted


def feature_cache(model: EmpathAVForCausalLM, processor: EmpathAVProcessor, folder: str | None) -> FeatureCache | None:
    """A cache of frozen features in `folder`; `None` without one, and then the collator decodes clips each time."""
    return None if folder is None else FeatureCache(model.model.extractor, processor, folder)


def finish(
    trainer: Trainer,
    processor: EmpathAVProcessor,
    merge_into: str | None = None,
    facts: dict | None = None,
    settings: dict | None = None,
    dtype: torch.dtype = torch.bfloat16,
):
    r"""
    Writes the output directory of a recipe: the adapter, the processor and the card. Call it after training, on all
    processes. The auto classes load the directory as they load a checkpoint; the frozen weights are those of the base
    that the adapter names. With `push_to_hub` it is published too.

    Args:
        merge_into (`str`, *optional*): Checkpoint of which a copy with the adapter in its weights goes to `merged`.
        facts (`dict`, *optional*): Of [`read_facts`], for the card.
        settings (`dict`, *optional*): Of [`reading_settings`], stored beside the weights.
        dtype (`torch.dtype`, *optional*, defaults to `torch.bfloat16`): In which the adapter is stored.
    """
    write_output(trainer, processor, facts, settings, dtype)
    if trainer.is_world_process_zero() and merge_into is not None:
        directory = Path(trainer.args.output_dir)
        merged(merge_into, directory).save_pretrained(directory / "merged")
        processor.save_pretrained(directory / "merged")
    PartialState().wait_for_everyone()
    if trainer.args.push_to_hub:
        publish(trainer)


def write_output(
    trainer: Trainer,
    processor: EmpathAVProcessor,
    facts: dict | None = None,
    settings: dict | None = None,
    dtype: torch.dtype = torch.bfloat16,
):
    """Writes what was trained, the processor and the card; see [`finish`]. Whole models keep their own type."""
    trainer.save_model(_internal_call=True)  # else `Trainer` publishes what it has saved
    if not trainer.is_world_process_zero():
        return
    directory = Path(trainer.args.output_dir)
    shutil.rmtree(directory / "ref", ignore_errors=True)  # TRL's copy of the adapter that training began from
    if (directory / ADAPTER_WEIGHTS).is_file():
        weights = {name: tensor.to(dtype) for name, tensor in load_file(directory / ADAPTER_WEIGHTS).items()}
        write_file(directory / ADAPTER_WEIGHTS, save(weights, adapter_metadata(settings)))
    processor.save_pretrained(directory)
    trainer.create_model_card(facts=facts)


def publish(trainer: Trainer):
    """
    Publishes the output directory of a training as recipes/push.py does: the same files, checks and single commit.

    Raises:
        `ValueError`: it cannot be published, or the Hub refuses. What was trained lies in the output directory.
    """
    arguments = trainer.args
    if trainer.hub_model_id is None:
        trainer.init_hf_repo()
    if trainer.is_world_process_zero():
        push(
            arguments.output_dir,
            trainer.hub_model_id,
            private=bool(arguments.hub_private_repo),
            revision=arguments.hub_revision,
            api=HfApi(token=arguments.hub_token),
        )


def merged(checkpoint: str, adapter: str | os.PathLike) -> EmpathAVForCausalLM:
    """A checkpoint with an adapter in its weights: added in float32, rounded once to the checkpoint's own types."""
    exact = merge_adapter(load_model(checkpoint, torch.float32), adapter)
    model = load_model(checkpoint, "auto")
    model.load_state_dict(exact.state_dict())
    for name in SETTINGS:
        setattr(model.config, name, getattr(exact.config, name))
    return model


def base_model(model):
    """The [`EmpathAVForCausalLM`] itself, without adapters around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
