"""Seven emotion probabilities of texts, by any text classifier of transformers."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from ..checkpoint.loading import default_device
from ..checkpoint.parts import load_whole
from ..data.emotion_names import ALIASES
from ..modeling.configuration_empathav import EMOTION_LABELS
from .scorer_part import scorer_directory
from .text_batches import in_batches, read


class EmotionScorer:
    r"""
    Scores the emotion of texts with a classifier whose labels are the seven emotions, or names for them.

    Args:
        classifier (`str` or `os.PathLike`):
            Directory or Hub id of a model for `AutoModelForSequenceClassification`, or a trained part (a
            `.safetensors` file) of recipes/emotion_scorer.py, which is assembled into the cache once.
        label_map (`dict[str, str]`, *optional*):
            Which of the seven a label means, for labels that are not known here. Scores of labels that mean the same
            are added.
        device (`str`, *optional*): CUDA where there is one by default.
        batch_size (`int`, *optional*, defaults to 64): Texts at once.

    Raises:
        `ValueError`: a label means none of the seven, one of the seven is missing, or the classifier gives a text
            several labels at once.
        `FileNotFoundError`: there is no such trained part.
    """

    def __init__(
        self,
        classifier: str | os.PathLike,
        label_map: Mapping[str, str] | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ):
        self.batch_size, source = batch_size, str(classifier)
        classifier = scorer_directory(classifier)
        config = AutoConfig.from_pretrained(classifier)
        names = [config.id2label[index] for index in range(config.num_labels)]
        self.to_seven = torch.from_numpy(label_matrix(names, label_map, source))
        if config.problem_type == "multi_label_classification":
            raise ValueError(
                f"{source} judges each label by itself, so its scores are no distribution: take a classifier of "
                "one label a text."
            )
        self.model = load_whole(AutoModelForSequenceClassification, classifier).to(default_device(device))
        self.tokenizer = AutoTokenizer.from_pretrained(classifier)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities `(texts, 7)` in the order of `EMOTION_LABELS`, each row summing to 1."""
        return in_batches(self._score, texts, self.batch_size, len(EMOTION_LABELS))

    def _score(self, texts: list[str]) -> torch.Tensor:
        logits = self.model(**read(self.tokenizer, texts, self.model.device)).logits
        return logits.double().softmax(dim=-1).cpu() @ self.to_seven


def label_matrix(names: Sequence[str], label_map: Mapping[str, str] | None, source: str) -> np.ndarray:
    """A matrix of zeros and ones, `(labels, 7)`, that adds up the scores of labels with the same meaning."""
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
