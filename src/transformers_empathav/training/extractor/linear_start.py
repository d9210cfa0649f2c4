"""The start of a training as a logistic regression of the statistics of a clip, written into the extractor."""

import torch

from ...modeling.layers_empathav import LayerStatistics
from ..class_weights import balanced_weights
from ..clip_features import statistics_of
from .balance import balanced_shares
from .dataset import EmotionDataset
from .label_words import STEP, directions_of
from .objective import EmotionTraining
from .regression import regression


QUIET = 0.1  # factor of the Q-Former's output at first: untrained, it would outweigh the regression


@torch.no_grad()
def start_as_regression(
    training: EmotionTraining,
    dataset: EmotionDataset,
    strength: float,
    balance: float | None = None,
    behind: float = torch.inf,
) -> dict[str, float]:
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
        balance (`float`, *optional*):
            Clips weigh as [`balanced_shares`] says for this number. By default emotions weigh alike.
        behind (`float`, *optional*, defaults to infinity): See [`cross_entropy`].

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
        clips, rows = stream_statistics(dataset, stream)
        if not rows:
            continue
        targets = torch.tensor(dataset.targets)[rows]
        if len(targets.unique()) < 2:
            raise ValueError(f"All clips with {stream} have one emotion: give clips of others, or no linear start.")
        if balance is None:
            weights = balanced_weights(targets.tolist(), training.words)[targets]
        else:
            weights = balanced_shares(dataset.items, balance).float()[rows]
        read = (path.channel_scale != 0).flatten().cpu()
        inputs = path.scaled(clips.to(path.channel_shift)).flatten(1).cpu()[:, read]
        # Inputs may be far from unit size, which would change what `strength` means. Where clips are alike it is 0.
        size = float(inputs.square().mean().sqrt()) or 1.0
        shares = dataset.shares[rows]
        competing = dataset.competing[rows] & (shares.sum(dim=0) > 0)  # weights of labels that do not occur stay 0
        strength_of_one = strength / inputs.shape[1]
        found, bias = regression(
            inputs / size, shares, strength_of_one, weights / weights.mean(), competing, behind=behind
        )
        accuracies[stream] = float(((inputs / size @ found + bias).argmax(dim=1) == targets).float().mean())
        weights = found.new_zeros(len(read), found.shape[1])
        weights[read] = found / size
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
    Statistics `(windows, layers, 2, width)` of `"audio"` or `"video"` in all clips and copies, and which clip of the
    dataset each window is of; `None` and no clips where none has that stream.
    """
    found, rows = [], []
    for row, item in enumerate(dataset.items):
        for copy in range(dataset.copies + 1):
            for window in dataset.cache.load(item, copy):
                if (features := getattr(window, stream)) is not None:
                    found.append(statistics_of(features))
                    rows.append(row)
    return torch.stack(found) if found else None, rows


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
