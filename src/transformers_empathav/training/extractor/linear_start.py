"""The start of a training as a logistic regression of the statistics of a clip, written into the extractor."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from ...modeling.layers_empathav import LayerStatistics
from ..clip_features import statistics_of
from .dataset import EmotionDataset
from .label_words import STEP, directions_of
from .objective import EmotionTraining


QUIET = 0.1  # factor of the Q-Former's output at first: untrained, it would outweigh the regression


@torch.no_grad()
def start_as_regression(training: EmotionTraining, dataset: EmotionDataset, strength: float) -> dict[str, float]:
    r"""
    Fits a logistic regression to the statistics of each stream and writes it into the extractor: its vectors then move
    along the word of a label by the label's log-odds. The Q-Former's output is scaled down. Call it right before
    training, after [`fit_features`], and after [`learn_words`]: the language model hardly follows vectors that move
    along the labels' own embeddings.

    Args:
        training ([`EmotionTraining`]): Its extractor changes.
        dataset ([`EmotionDataset`]): The training side; its disturbed copies take part.
        strength (`float`):
            `C` of scikit-learn's `LogisticRegression`, the inverse of the penalty on weights. It is divided by the
            number of statistics of a stream, so a face with few statistics counts as much as a voice with many.

    Returns:
        `dict[str, float]`: by stream, `"audio"` or `"video"`, the share of the fitted windows whose emotion the
        regression names.

    Raises:
        `ValueError`: the clips of a stream have one emotion alone.
    """
    extractor = training.extractor
    codes = codes_of_words(training)
    accuracies = {}
    for stream, path in (("audio", extractor.audio_statistics), ("video", extractor.vision_statistics)):
        clips, targets = stream_statistics(dataset, stream)
        if not targets:
            continue
        if len(set(targets)) < 2:
            raise ValueError(f"All clips with {stream} have one emotion: give clips of others, or no linear start.")
        inputs = path.scaled(clips.to(path.channel_shift)).flatten(1).cpu()
        weights, bias, accuracies[stream] = regression(inputs, targets, len(training.words), strength)
        write_regression(path, weights, bias, codes)
    extractor.qformer.encoder.layer[-1].output_query.LayerNorm.weight.mul_(QUIET)
    return accuracies


@torch.no_grad()
def codes_of_words(training: EmotionTraining) -> torch.Tensor:
    """
    What is added to a query's output to move its vector along a label's word by log-odds of 1, `(labels, width)`.

    The output projection is changed, as little as makes that exact.
    """
    weight = training.extractor.embedding_projection.linear.weight
    moves = STEP * directions_of(training.words).T
    codes = torch.linalg.lstsq(weight.float(), moves.float()).solution
    missed = moves - weight.float() @ codes
    weight += missed @ torch.linalg.pinv(codes)
    return codes.T


def stream_statistics(dataset: EmotionDataset, stream: str) -> tuple[torch.Tensor | None, list[int]]:
    """
    Statistics `(windows, layers, 2, width)` of `"audio"` or `"video"` in all clips and copies, and the label of each
    window; `None` and no labels where no clip has that stream.
    """
    found, targets = [], []
    for item, target in zip(dataset.items, dataset.targets):
        for copy in range(dataset.copies + 1):
            for window in dataset.cache.load(item, copy):
                if (features := getattr(window, stream)) is not None:
                    found.append(statistics_of(features))
                    targets.append(target)
    return torch.stack(found) if found else None, targets


def regression(
    inputs: torch.Tensor, targets: list[int], labels: int, strength: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """
    A balanced logistic regression of `inputs` `(rows, features)`.

    Returns:
        `tuple`: weights `(features, labels)` and biases `(labels,)`, zero for labels that do not occur, and the share
        of the rows that it names correctly.
    """
    # Inputs may be far from unit size, which would change what `strength` means. Where all clips are alike it is 0.
    size = float(inputs.square().mean().sqrt()) or 1.0
    model = LogisticRegression(C=strength / inputs.shape[1], max_iter=1000, class_weight="balanced")
    model.fit(inputs.numpy() / size, targets)
    found = np.concatenate([model.coef_ / size, model.intercept_[:, None]], axis=1)
    found = found if len(model.classes_) > 2 else np.concatenate([-found, found]) / 2
    weights = torch.zeros(inputs.shape[1] + 1, labels)
    weights[:, torch.tensor(model.classes_)] = torch.tensor(found.T, dtype=weights.dtype)
    return weights[:-1], weights[-1], float(model.score(inputs.numpy() / size, targets))


def write_regression(path: LayerStatistics, weights: torch.Tensor, bias: torch.Tensor, codes: torch.Tensor):
    """
    Sets the projection of statistics so that it adds, for each label, its code times its log-odds.

    Args:
        path ([`LayerStatistics`]): Whose projection is set.
        weights, bias (`torch.Tensor` of shape `(features, labels)` and `(labels,)`): Of [`regression`].
        codes (`torch.Tensor` of shape `(labels, width)`): Of [`codes_of_words`].
    """
    centred = weights - weights.mean(dim=1, keepdim=True)
    path.weight.copy_(((centred @ codes.float().cpu()) * len(weights) ** 0.5).unflatten(0, path.weight.shape[:3]))
    path.bias.copy_((bias - bias.mean()) @ codes.float().cpu())
