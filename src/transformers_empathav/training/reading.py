"""How sure a tuned language model is of the emotions that it reads, brought back to what it was before."""

import logging
import random

import numpy as np
import torch
from peft import PeftModel

from ..data.clips.corpus import load_clip_corpus
from ..processing.processing_empathav import EmpathAVProcessor
from .collator import ConversationCollator
from .feature_cache import FeatureCache
from .shared_vectors import shared_vectors
from .temperature import best_temperature, tempered


logger = logging.getLogger(__name__)
CLIPS, ROWS = 240, 16  # that are read in all, and at once


@torch.no_grad()
def reading_settings(
    model: PeftModel, processor: EmpathAVProcessor, cache: FeatureCache | None, sources: list[str], seed: int = 0
) -> dict:
    r"""
    The temperature at which an adapted model is as sure of the emotions of clips as the model without its adapter, and
    the threshold from which on as many of them count.

    The extractor learned to be read by the language model as it was. Tuning on replies sharpens what that model says,
    and an emotion of 0.6 becomes one of 0.9 though nothing more was heard. The labels of the clips are not used.

    Args:
        model (`PeftModel`): Around an [`EmpathAVForCausalLM`].
        processor ([`EmpathAVProcessor`]): Its processor.
        cache ([`FeatureCache`], *optional*): Gives frozen features of clips, which are decoded otherwise.
        sources (`list[str]`): Clip corpora, as [`load_clip_corpus`] takes them; 240 clips are drawn.
        seed (`int`, *optional*, defaults to 0): Of the draw.

    Returns:
        `dict`: `emotion_temperature` and `emotion_threshold` for [`finish`]; empty without sources.
    """
    if not sources:
        return {}
    base = model.get_base_model()
    was_training = model.training
    model.eval()
    clips = [clip for source in sources for clip in load_clip_corpus(source)]
    clips = random.Random(seed).sample(clips, min(CLIPS, len(clips)))
    collator = ConversationCollator(processor, cache=cache)
    before, after = [], []
    for start in range(0, len(clips), ROWS):
        rows = [
            {"id": clip["id"], "prompt": clip["messages"], "completion": [{"role": "assistant", "content": "."}]}
            for clip in clips[start : start + ROWS]
        ]
        batch = {name: tensor.to(base.device) for name, tensor in collator(rows).items()}
        read = {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            **shared_vectors(base, batch),
        }
        after.append(base.predict_emotion(**read).cpu().numpy())
        with model.disable_adapter():
            before.append(base.predict_emotion(**read).cpu().numpy())
    model.train(was_training)
    before, after = np.concatenate(before), np.concatenate(after)
    factor = best_temperature(before, after)
    threshold = same_share(before, tempered(after, factor), base.config.emotion_threshold)
    logger.info(
        f"Tuned, the model is surer of an emotion by a temperature of {factor:.2f}; as many of {len(clips)} clips as "
        f"before count from {threshold} on"
    )
    return {"emotion_temperature": round(base.config.emotion_temperature * factor, 4), "emotion_threshold": threshold}


def same_share(before: np.ndarray, after: np.ndarray, threshold: float) -> float:
    """The threshold, in hundredths, from which on as many rows of `after` are sure as of `before`."""
    sure = np.count_nonzero(before.max(axis=1) >= threshold)
    choices = np.arange(50, 100) / 100
    counts = (after.max(axis=1)[:, None] >= choices).sum(axis=0)
    return float(choices[np.abs(counts - sure).argmin()])
