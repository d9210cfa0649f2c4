"""Training of the extractor begins as a linear model: what statistics of a clip show, said in the learned words."""

import numpy as np
import torch

from ...modeling.layers_empathav import LayerStatistics
from ..clip_features import statistics_of
from .dataset import EmotionDataset
from .label_words import STEP
from .objective import EmotionTraining


QUIET = 0.1  # how loud the Q-Former is at first: untrained, it would drown what the regression says


@torch.no_grad()
def begin_linear(training: EmotionTraining, dataset: EmotionDataset, strength: float) -> dict[str, float]:
    r"""
    Fits a logistic regression to the statistics of each stream, and writes it into the extractor: vectors move along
    the word of a label by the label's log-odds. The Q-Former begins quietly, and everything learns from there.

    Statistics have to be fitted already (`fit_features`), and the words should be learned ([`learn_words`]): labels'
    own embeddings are hardly followed.

    Args:
        training ([`EmotionTraining`]): Its words say what the regression finds.
        dataset ([`EmotionDataset`]): The training side; its disturbed copies take part.
        strength (`float`):
            `C` of scikit-learn's `LogisticRegression`, the inverse of the penalty on weights, for a single statistic;
            it is shared between those of a stream. So a face of few statistics may say as much as a voice of many.

    Returns:
        `dict[str, float]`: by stream, `"audio"` or `"video"`, the share of the fitted clips that are named rightly.

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
        write(path, weights, bias, codes)
    extractor.qformer.encoder.layer[-1].output_query.LayerNorm.weight.mul_(QUIET)
    return accuracies


@torch.no_grad()
def codes_of_words(training: EmotionTraining) -> torch.Tensor:
    """
    What a query has to hold for its vector to move along a label's word by log-odds of 1: `(labels, width)`.

    The projection of vectors is changed as little as makes that exact.
    """
    weight = training.extractor.embedding_projection.linear.weight
    directions = training.words - training.words.mean(dim=0)
    moves = STEP * (directions / directions.square().mean(dim=1, keepdim=True).sqrt()).T
    codes = torch.linalg.lstsq(weight.float(), moves.float()).solution
    missed = moves - weight.float() @ codes
    weight += missed @ torch.linalg.pinv(codes)
    return codes.T


def stream_statistics(dataset: EmotionDataset, stream: str) -> tuple[torch.Tensor | None, list[int]]:
    """Statistics `(windows, layers, 2, width)` of a stream in all clips and copies, and the label of each window."""
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
    """Weights `(features, labels)` and biases, zero for labels that do not occur; and the accuracy on these inputs."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ImportError("A linear start needs scikit-learn: pip install scikit-learn") from None
    # Inputs may be far from unit size, which would change what `strength` means.
    size = float(inputs.square().mean().sqrt())
    model = LogisticRegression(C=strength / inputs.shape[1], max_iter=1000, class_weight="balanced")
    model.fit(inputs.numpy() / size, targets)
    found = np.concatenate([model.coef_ / size, model.intercept_[:, None]], axis=1)
    found = found if len(model.classes_) > 2 else np.concatenate([-found, found]) / 2
    weights = torch.zeros(inputs.shape[1] + 1, labels)
    weights[:, torch.tensor(model.classes_)] = torch.tensor(found.T, dtype=weights.dtype)
    return weights[:-1], weights[-1], float(model.score(inputs.numpy() / size, targets))


def write(path: LayerStatistics, weights: torch.Tensor, bias: torch.Tensor, codes: torch.Tensor):
    """Makes the projection of statistics say `weights` of its inputs, and `bias`, in `codes`."""
    centred = weights - weights.mean(dim=1, keepdim=True)
    path.weight.copy_(((centred @ codes.float().cpu()) * len(weights) ** 0.5).unflatten(0, path.weight.shape[:3]))
    path.bias.copy_((bias - bias.mean()) @ codes.float().cpu())
