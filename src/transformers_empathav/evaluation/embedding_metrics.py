"""Measures by models: BERTScore, similarity in meaning and in emotion, levels of empathy."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from ..emotional_similarity import cosine
from .bootstrap import Scores


def embedding_similarity(
    predictions: Sequence[str], references: Sequence[str], embed: Callable[[list[str]], np.ndarray]
) -> Scores:
    """
    Cosine of sentence embeddings of each reply and its reference.

    Args:
        embed (`Callable`): Texts to vectors `(texts, dimensions)`.
    """
    first, second = (np.asarray(embed(list(texts)), dtype=float) for texts in (predictions, references))
    return Scores.of_values(cosine(first, second))


def emotion_metrics_of_replies(
    predictions: Sequence[str],
    references: Sequence[str],
    labels: Sequence[int | None],
    distributions: Callable[[list[str]], np.ndarray],
) -> dict[str, Scores]:
    r"""
    How the emotion of replies compares to that of the references, by a classifier.

    Args:
        labels (`list[int]`): The emotion that a person gave each reference, by its index; `None` without.
        distributions (`Callable`): Texts to probabilities `(texts, emotions)`.

    Returns:
        `dict[str, Scores]`: `emotional_similarity`, the cosine of both distributions; `emotion_agreement`, the share
        of replies whose likeliest emotion is that of the reference by the same classifier; and, over the references
        that have a label, `emotion_accuracy`, the share of replies whose likeliest emotion is the label.
    """
    said, gold = (np.asarray(distributions(list(texts)), dtype=float) for texts in (predictions, references))
    likeliest, labelled = said.argmax(axis=1), np.array([label is not None for label in labels], dtype=float)
    right = [float(index == label) for index, label in zip(likeliest, labels, strict=True)]
    result = {
        "emotional_similarity": Scores.of_values(cosine(said, gold)),
        "emotion_agreement": Scores.of_values(likeliest == gold.argmax(axis=1)),
    }
    return result | ({"emotion_accuracy": Scores.of_values(right, labelled)} if labelled.any() else {})


def greedy_match(candidate: torch.Tensor, reference: torch.Tensor) -> tuple[float, float, float]:
    """
    Precision, recall and F1 of two sets of token vectors `(tokens, dimensions)`: each token of one side has the cosine
    of its nearest of the other (Zhang et al., 2020). All are 0 where a side is empty.
    """
    if not len(candidate) or not len(reference):
        return 0.0, 0.0, 0.0
    first, second = (torch.nn.functional.normalize(side.double(), dim=-1) for side in (candidate, reference))
    similarity = first @ second.T
    precision, recall = float(similarity.amax(dim=1).mean()), float(similarity.amax(dim=0).mean())
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class BertScore:
    r"""
    BERTScore (Zhang et al., 2020), tokens unweighted and figures not rescaled, so they compare with one another only.

    Args:
        model (`str` or `os.PathLike`): Directory or Hub id of an encoder of `AutoModel`.
        layer (`int`, *optional*): Whose hidden states are matched, -1 for the last.
        batch_size (`int`, *optional*): Texts at once.
    """

    def __init__(self, model: str | os.PathLike, layer: int = -1, batch_size: int = 32):
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
        self.layer, self.batch_size = layer, batch_size

    @torch.no_grad()
    def token_vectors(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Hidden states of the tokens of each text `(tokens, hidden)`, those of special tokens left out."""
        vectors = []
        for start in range(0, len(texts), self.batch_size):
            batch = self.tokenizer(
                list(texts[start : start + self.batch_size]),
                padding=True,
                truncation=True,
                return_special_tokens_mask=True,
                return_tensors="pt",
            )
            words = batch.pop("special_tokens_mask") == 0
            hidden = self.model(**batch, output_hidden_states=True).hidden_states[self.layer]
            vectors += [row[kept] for row, kept in zip(hidden, words & batch["attention_mask"].bool())]
        return vectors

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Scores]:
        """`bertscore_precision`, `bertscore_recall` and `bertscore_f1`."""
        pairs = zip(self.token_vectors(predictions), self.token_vectors(references), strict=True)
        columns = zip(*[greedy_match(*pair) for pair in pairs])
        return {
            f"bertscore_{name}": Scores.of_values(values)
            for name, values in zip(("precision", "recall", "f1"), columns)
        }


class Epitome:
    r"""
    Diff-EPITOME (Lee et al., 2022): how far a reply's level of empathy is from that of the reference, by one
    classifier for each mechanism of EPITOME (Sharma et al., 2020). Less is better.

    Args:
        models (`dict[str, str]`): Directory or Hub id of an `AutoModelForSequenceClassification` over the levels
            none, weak and strong, in that order, for each mechanism: `emotional_reactions`, `interpretations`,
            `explorations`.

    Raises:
        `ValueError`: a classifier does not have three classes.
    """

    def __init__(self, models: dict[str, str], batch_size: int = 32):
        self.batch_size, self.parts = batch_size, {}
        for name, path in models.items():
            model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
            if model.config.num_labels != 3:
                raise ValueError(
                    f"{path} tells {model.config.num_labels} classes apart, and {name} has three levels: none, weak, "
                    "strong."
                )
            self.parts[name] = model, AutoTokenizer.from_pretrained(path)

    @torch.no_grad()
    def levels(self, name: str, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """The expected level, 0 to 2, of each reply to its prompt."""
        model, tokenizer = self.parts[name]
        found = []
        for start in range(0, len(replies), self.batch_size):
            some = slice(start, start + self.batch_size)
            batch = tokenizer(
                list(prompts[some]), list(replies[some]), padding=True, truncation=True, return_tensors="pt"
            )
            found.append(model(**batch).logits.softmax(dim=-1) @ torch.arange(3.0))
        return torch.cat(found).double().numpy()

    def __call__(
        self, prompts: Sequence[str], predictions: Sequence[str], references: Sequence[str]
    ) -> dict[str, Scores]:
        """`diff_NAME` of each mechanism."""
        return {
            f"diff_{name}": Scores.of_values(
                np.abs(self.levels(name, prompts, predictions) - self.levels(name, prompts, references))
            )
            for name in self.parts
        }
