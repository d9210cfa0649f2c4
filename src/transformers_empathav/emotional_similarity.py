r"""
How far two replies are apart: in emotion, and in what they are about.

**Emotional similarity** is the cosine of two emotion distributions, those that a text classifier gives to the replies;
emotional distance is one minus it. Distributions have no negative entries, so it lies between 0 (no emotion in common)
and 1. **Contextual similarity** is the cosine of two sentence embeddings, between -1 and 1.

Both read the words alone. The classifier errs, most of all on short replies and irony; where it is unsure of both
replies, both distributions are flat and the replies count as similar. A sentence embedding knows topic better than
attitude, yet holds some of it: a furious reply is also a little further from a kind one in context.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from .backbones.minilm import fetch_minilm
from .backbones.parts import load_whole
from .modeling.configuration_empathav import EMOTION_LABELS


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


class SentenceEmbedder:
    r"""
    Unit vectors of texts: the mean of an encoder's last hidden states over the tokens of a text (Sentence-BERT,
    arXiv 1908.10084).

    Args:
        encoder (`str` or `os.PathLike`, *optional*):
            Directory or Hub id of an encoder that was trained with such a mean; all-MiniLM-L6-v2 out of its wheel by
            default.
        device (`str`, *optional*): CUDA where there is one by default.
        batch_size (`int`, *optional*, defaults to 64): Texts at once.
    """

    def __init__(self, encoder: str | os.PathLike | None = None, device: str | None = None, batch_size: int = 64):
        encoder = fetch_minilm() if encoder is None else encoder
        self.name, self.batch_size = str(encoder), batch_size
        self.model = load_whole(AutoModel, encoder)
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.tokenizer = AutoTokenizer.from_pretrained(encoder)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors `(texts, width)` of length 1."""
        return in_batches(self._embed, texts, self.batch_size, self.model.config.hidden_size)

    def _embed(self, texts: list[str]) -> torch.Tensor:
        inputs = read(self.tokenizer, texts, self.model.device)
        hidden = self.model(**inputs).last_hidden_state.double()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=-1).cpu()


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """
    Cosine of the rows of two arrays `(..., width)` that broadcast: emotional similarity of distributions, contextual
    similarity of embeddings.
    """
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.sum(first * second, axis=-1) / np.maximum(lengths, 1e-12)


def emotional_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One minus the cosine of emotion distributions `(..., 7)`: 0 for the same, 1 for nothing in common."""
    return 1 - cosine(first, second)


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


def read(tokenizer, texts: list[str], device) -> dict[str, torch.Tensor]:
    """Tokens of texts, right-padded; what is beyond an encoder's positions is not read."""
    return tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)


@torch.no_grad()
def in_batches(function, texts: Sequence[str], batch_size: int, width: int) -> np.ndarray:
    """`function` over texts sorted by length, so that little is padded, in the order they were given."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found = np.zeros((len(texts), width))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found[chosen] = function([texts[index] for index in chosen]).numpy()
    return found
