"""Baselines of a trained extractor, from the same frozen features."""

from collections.abc import Iterable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...modeling.face_encoder_empathav import FaceEncoder
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from ...processing.processing_empathav import EmpathAVProcessor
from ...training.clip_features import ClipFeatures


def layer_statistics(rows: Iterable[list[ClipFeatures]]) -> np.ndarray | None:
    """
    Mean and standard deviation over time of each audio layer, `(rows, layers, 2 * width)`; zeros without sound, and
    `None` where no clip has sound.
    """
    found = []
    for windows in rows:
        heard = [window.audio.float() for window in windows if window.audio is not None]
        sound = torch.cat(heard, dim=1) if heard else None
        found.append(None if sound is None else torch.cat([sound.mean(dim=1), sound.std(dim=1, correction=0)], dim=-1))
    known = next((row for row in found if row is not None), None)
    if known is None:
        return None
    return np.stack([(torch.zeros_like(known) if row is None else row).numpy() for row in found])


def logistic_regression(
    train: np.ndarray, targets: np.ndarray, test: np.ndarray, labels: int, strength: float = 0.01
) -> np.ndarray:
    r"""
    Balanced logistic regression on standardised features.

    Args:
        train, test (`np.ndarray` of shape `(rows, features)`): Of each side.
        targets (`np.ndarray` of shape `(rows,)`): Emotions of the training side, as indices.
        labels (`int`): How many emotions there are.
        strength (`float`, *optional*, defaults to 0.01): Inverse of the regularisation, scikit-learn's `C`.

    Returns:
        `np.ndarray` of shape `(test rows, labels)`: probabilities, 0 for emotions that do not occur in training.
    """
    regression = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    model = make_pipeline(StandardScaler(), regression).fit(train, targets)
    scores = np.zeros((len(test), labels))
    scores[:, model.classes_] = model.predict_proba(test)
    return scores


@torch.no_grad()
def face_network(model: EmpathAVForCausalLM, rows: Iterable[list[ClipFeatures]]) -> np.ndarray | None:
    """
    The face network's own seven outputs, averaged over the frames of a clip, as probabilities `(rows, labels)`. It was
    trained on other faces and is not trained further. A clip without frames has the same probability for each label.

    Args:
        rows (`Iterable[list[ClipFeatures]]`): The windows of each clip.

    Returns:
        `np.ndarray`, or `None` where the vision encoder has no classifier of these labels, or no clip has frames.
    """
    tower, labels = model.model.extractor.vision_tower, list(model.config.emotion_labels)
    if not isinstance(tower, FaceEncoder) or list(tower.config.id2label.values()) != labels:
        return None
    found, any_seen = [], False
    for windows in rows:
        seen = [window.video[-1].float() for window in windows if window.video is not None]
        if not seen:
            found.append(torch.full((len(labels),), 1 / len(labels)))
            continue
        any_seen = True
        maps = torch.cat(seen).transpose(1, 2).to(tower.classifier.weight)  # (frames, width, patches)
        side = round(maps.shape[-1] ** 0.5)
        logits = tower.classifier(maps.unflatten(2, (side, side))).mean((2, 3))
        found.append(logits.softmax(dim=-1).mean(dim=0).cpu())
    return torch.stack(found).numpy() if any_seen else None


@torch.no_grad()
def transcript_alone(model: EmpathAVForCausalLM, processor: EmpathAVProcessor, items: list[dict]) -> np.ndarray:
    """Probabilities `(rows, labels)` that the language model gives for the words alone, without voice or face."""
    known, rows = {}, []
    for item in items:
        words = " ".join(part["text"] for part in item["messages"][-1]["content"] if part["type"] == "text")
        if words not in known:
            messages = [{"role": "user", "content": words}]
            inputs = processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            ).to(model.device)
            known[words] = model.predict_emotion(**inputs)[0].cpu().numpy()
        rows.append(known[words])
    return np.stack(rows)
