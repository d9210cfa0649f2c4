"""The emotion of texts: seven probabilities by any text classifier of transformers."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from ..checkpoint.parts import load_whole
from ..modeling.configuration_empathav import EMOTION_LABELS
from .text_batches import in_batches, read


# How published classifiers spell the seven.
ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fear": "fearful",
    "scared": "fearful",
    "joy": "happy",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}


class EmotionScorer:
    r"""
    The emotion of texts, by any classifier of transformers whose labels are the seven or names for them.

    Args:
        classifier (`str` or `os.PathLike`):
            Directory or Hub id of a model for `AutoModelForSequenceClassification`; recipes/emotion_scorer.py writes
            such a directory.
        label_map (`dict[str, str]`, *optional*):
            For labels that are not known here: which of the seven each means. Scores of labels that mean the same are
            added.
        device (`str`, *optional*): CUDA where there is one by default.
        batch_size (`int`, *optional*, defaults to 64): Texts at once.

    Raises:
        `ValueError`: a label is none of the seven, one of the seven is missing, or several may hold at once.
    """

    def __init__(
        self,
        classifier: str | os.PathLike,
        label_map: Mapping[str, str] | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ):
        config = AutoConfig.from_pretrained(classifier)
        self.name, self.batch_size = str(classifier), batch_size
        names = [config.id2label[index] for index in range(config.num_labels)]
        self.to_seven = torch.from_numpy(label_matrix(names, label_map, self.name))
        if config.problem_type == "multi_label_classification":
            raise ValueError(
                f"{classifier} judges each label by itself, so its scores are no distribution: take a classifier of "
                "one label a text."
            )
        self.model = load_whole(AutoModelForSequenceClassification, classifier)
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tokenizer = AutoTokenizer.from_pretrained(classifier)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities `(texts, 7)` in the order of `EMOTION_LABELS`, each row summing to 1."""
        return in_batches(self._score, texts, self.batch_size, len(EMOTION_LABELS))

    def _score(self, texts: list[str]) -> torch.Tensor:
        logits = self.model(**read(self.tokenizer, texts, self.model.device)).logits
        return logits.double().softmax(dim=-1).cpu() @ self.to_seven


def label_matrix(names: Sequence[str], label_map: Mapping[str, str] | None, source: str) -> np.ndarray:
    """What brings scores of labels `(labels,)` to the seven `(7,)`: a matrix of zeros and ones, `(labels, 7)`."""
    meanings = {emotion: emotion for emotion in EMOTION_LABELS} | ALIASES
    meanings |= {name.lower(): meaning for name, meaning in (label_map or {}).items()}
    unknown = [name for name in names if meanings.get(name.lower()) not in EMOTION_LABELS]
    if unknown:
        raise ValueError(
            f"{source} has labels that mean none of {', '.join(EMOTION_LABELS)}: {', '.join(unknown[:8])}. Take a "
            'classifier of these seven, or say what they mean with label_map, such as {"joy": "happy"}.'
        )
    matrix = np.zeros((len(names), len(EMOTION_LABELS)))
    for index, name in enumerate(names):
        matrix[index, EMOTION_LABELS.index(meanings[name.lower()])] = 1
    if missing := [emotion for emotion, found in zip(EMOTION_LABELS, matrix.any(axis=0)) if not found]:
        raise ValueError(
            f"{source} cannot say {', '.join(missing)}: texts of that emotion would count as another. Take a "
            "classifier of all seven."
        )
    return matrix
