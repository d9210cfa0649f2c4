"""A text classifier of the seven emotions: LoRA and a head on a frozen encoder, stored without it."""

import json
import os
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer

from ..backbones.minilm import REQUIREMENT, fetch_minilm
from ..backbones.wheels import cache_directory, sha256
from ..data.replies import text_of
from ..modeling.configuration_empathav import EMOTION_LABELS


PART_FILE = "emotion_scorer.safetensors"


def labelled_texts(conversations: list[dict], most: int | None = None) -> list[dict]:
    r"""
    The messages that carry an emotion and have words.

    In MELD that is every utterance. In EmpatheticDialogues it is the first turn of the speaker alone: people labelled
    the situation that it tells of, and nobody labelled what follows. None of these is neutral.

    Args:
        conversations (`list[dict]`): As the loaders of `data/dialogues.py` give them, shuffled or not.
        most (`int`, *optional*): Of each emotion at most so many, the first ones; all by default.

    Returns:
        `list[dict]`: Rows with `text`, `label` (index into `EMOTION_LABELS`) and `dialogue`.
    """
    rows, counts = [], [0] * len(EMOTION_LABELS)
    for conversation in conversations:
        for message in conversation["messages"]:
            text = text_of(message).strip()
            if message.get("emotion") is None or not text:
                continue
            label = EMOTION_LABELS.index(message["emotion"])
            counts[label] += 1
            if most is None or counts[label] <= most:
                rows.append({"text": text, "label": label, "dialogue": conversation["id"]})
    return rows


def open_scorer(base: str | None = None, rank: int = 8) -> PeftModel:
    """
    An encoder (all-MiniLM-L6-v2 out of its wheel, or a Hub id or directory) with a fresh head of seven labels, LoRA of
    `rank` on the projections that PEFT takes for its kind, and its pooler, all trainable; the rest is frozen.
    """
    model = AutoModelForSequenceClassification.from_pretrained(
        fetch_minilm() if base is None else base,
        num_labels=len(EMOTION_LABELS),
        id2label=dict(enumerate(EMOTION_LABELS)),
        label2id={emotion: index for index, emotion in enumerate(EMOTION_LABELS)},
        dtype=torch.float32,
    )
    poolers = {name.rpartition(".")[2] for name, _ in model.named_modules()} & {"pooler"}
    config = LoraConfig(task_type="SEQ_CLS", r=rank, lora_alpha=2 * rank, modules_to_save=sorted(poolers) or None)
    return get_peft_model(model, config)


def save_scorer(model: PeftModel, path: str | os.PathLike, base: str | None = None):
    """Writes what was trained, in bfloat16, and which encoder and rank it belongs to."""
    state = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    facts = {"base": base or REQUIREMENT, "rank": model.peft_config["default"].r, "labels": list(EMOTION_LABELS)}
    save_file(state, str(path), metadata={"emotion_scorer": json.dumps(facts)})


def assemble_scorer(part: str | os.PathLike, directory: str | os.PathLike, base: str | None = None):
    r"""
    Puts a trained part into its encoder and writes a stock model directory for `AutoModelForSequenceClassification`
    with its tokenizer.

    Args:
        part (`str` or `os.PathLike`): What [`save_scorer`] wrote.
        directory (`str` or `os.PathLike`): Where the model goes.
        base (`str`, *optional*): The encoder where it is now elsewhere; by default the one that the part names.

    Raises:
        `ValueError`: the part is damaged, or does not fit the encoder.
    """
    try:
        with safe_open(str(part), "pt") as file:
            facts = json.loads((file.metadata() or {}).get("emotion_scorer", "null"))
            state = {name: file.get_tensor(name).float() for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{part} is damaged ({error}): fetch or train it again.") from None
    if facts is None or facts["labels"] != list(EMOTION_LABELS):
        raise ValueError(
            f"{part} is no trained part of an emotion scorer with the labels {', '.join(EMOTION_LABELS)}."
        )
    base = base or (None if facts["base"] == REQUIREMENT else facts["base"])
    model = open_scorer(base, facts["rank"])
    own = {name: tensor.shape for name, tensor in get_peft_model_state_dict(model).items()}
    if own != {name: tensor.shape for name, tensor in state.items()}:
        raise ValueError(f"{part} does not fit the encoder {facts['base']}: it was trained on another.")
    set_peft_model_state_dict(model, state)
    model.merge_and_unload().eval().save_pretrained(directory)
    AutoTokenizer.from_pretrained(fetch_minilm() if base is None else base).save_pretrained(directory)


def scorer_directory(source: str | os.PathLike) -> str:
    """What can be loaded: `source` itself, or, where that is a trained part, its assembled model in the cache."""
    if not str(source).endswith(".safetensors"):
        return str(source)
    if not Path(source).is_file():
        raise FileNotFoundError(f"There is no emotion scorer at {source}: train one with recipes/emotion_scorer.py.")
    target = cache_directory() / f"emotion-scorer-{sha256(Path(source))[:16]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
            assemble_scorer(source, Path(scratch, "model"))
            try:
                os.rename(Path(scratch, "model"), target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return str(target)


class ScorerTrainer(Trainer):
    r"""
    `transformers.Trainer` with a weighted cross-entropy.

    Args:
        class_weights (`torch.Tensor` of shape `(7,)`, *optional*): What a text of each emotion counts.
    """

    def __init__(self, *args, class_weights: torch.Tensor | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.class_weights = class_weights

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weights = None if self.class_weights is None else self.class_weights.to(outputs.logits)
        losses = nn.functional.cross_entropy(outputs.logits, labels, weight=weights, reduction="none")
        # Gradients are averaged over processes, and texts counted over all of them.
        share = len(labels) if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        loss = losses.sum() / share
        return (loss, outputs) if return_outputs else loss


def balanced_weights(labels: list[int]) -> torch.Tensor:
    """One weight an emotion, in inverse proportion to its count, with a mean of 1 over the texts; 0 where none is."""
    counts = torch.bincount(torch.tensor(labels), minlength=len(EMOTION_LABELS)).float()
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), 0)
