"""Similarity of a reply to a reference, in meaning and in emotion."""

from collections.abc import Callable, Sequence

import numpy as np

from ..emotion.similarity import cosine
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
        that have a label, `emotion_accuracy`, the share of replies whose likeliest emotion is the label. Beside the
        first two, as `NAME_constant`, is the control: the same replies held against one target, the mean distribution
        and the commonest emotion of all references. A likeness that is not above it tells nothing of the context.
    """
    said, gold = (np.asarray(distributions(list(texts)), dtype=float) for texts in (predictions, references))
    likeliest, labelled = said.argmax(axis=1), np.array([label is not None for label in labels], dtype=float)
    right = [float(index == label) for index, label in zip(likeliest, labels, strict=True)]
    of_gold = gold.argmax(axis=1)
    result = {
        "emotional_similarity": Scores.of_values(cosine(said, gold)),
        "emotional_similarity_constant": Scores.of_values(cosine(said, gold.mean(axis=0))),
        "emotion_agreement": Scores.of_values(likeliest == of_gold),
        "emotion_agreement_constant": Scores.of_values(likeliest == np.bincount(of_gold).argmax()),
    }
    return result | ({"emotion_accuracy": Scores.of_values(right, labelled)} if labelled.any() else {})
