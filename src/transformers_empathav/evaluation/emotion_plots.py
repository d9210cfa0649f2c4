"""Pictures of recognised emotions."""

import os
from collections.abc import Sequence

import numpy as np


COLOURS = ("#c0392b", "#7f8c3a", "#8e44ad", "#e8a33d", "#7f8c8d", "#2e6da4", "#1f9e89")


def figure(width: float, height: float):
    """
    An empty figure that belongs to no window.

    Raises:
        `ImportError`: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("A plot needs matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def plot_confusion(matrix: np.ndarray, labels: Sequence[str], path: str | os.PathLike, title: str = ""):
    """Writes a confusion matrix as PNG: shares of each row, with the counts."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = figure(5.6, 5.0)
    axes = picture.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="recognised", ylabel="meant", title=title)
    for row, column in np.ndindex(*matrix.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)
    picture.savefig(path, format="png")


def plot_timeline(
    times: Sequence[float], scores: np.ndarray, labels: Sequence[str], path: str | os.PathLike, title: str = ""
):
    r"""
    Writes emotions over time as PNG.

    Args:
        times (`list[float]`): Middle of each window, in seconds.
        scores (`np.ndarray` of shape `(windows, labels)`): Probabilities.
    """
    picture = figure(8.0, 3.2)
    axes = picture.add_subplot()
    for column, label in enumerate(labels):
        axes.plot(
            times, scores[:, column], marker="o", markersize=3, label=label, color=COLOURS[column % len(COLOURS)]
        )
    axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    picture.savefig(path, format="png")


def plot_bars(clips: Sequence[str], scores: np.ndarray, labels: Sequence[str], path: str | os.PathLike):
    """Writes the emotions of whole clips as PNG, one stacked bar a clip."""
    picture = figure(8.0, 1.2 + 0.4 * len(clips))
    axes = picture.add_subplot()
    left = np.zeros(len(clips))
    for column, label in enumerate(labels):
        axes.barh(range(len(clips)), scores[:, column], left=left, label=label, color=COLOURS[column % len(COLOURS)])
        left += scores[:, column]
    axes.set_yticks(range(len(clips)), clips)
    axes.invert_yaxis()
    axes.set(xlabel="probability", xlim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    picture.savefig(path, format="png")


def plot_robustness(curves: dict[str, dict[str, float]], path: str | os.PathLike):
    """Writes accuracy under disturbances as PNG: `{disturbance: {level: accuracy}}`, one group of bars each."""
    picture = figure(8.0, 3.4)
    axes = picture.add_subplot()
    names, heights, positions, at = [], [], [], 0.0
    for kind, levels in curves.items():
        for level, accuracy in levels.items():
            names.append(f"{kind}\n{level}")
            heights.append(accuracy)
            positions.append(at)
            at += 1.0
        at += 0.6
    axes.bar(positions, heights, color=COLOURS[5])
    axes.set_xticks(positions, names, fontsize=7)
    axes.set(ylabel="accuracy", ylim=(0, 1))
    for position, height in zip(positions, heights):
        axes.text(position, height + 0.02, f"{height:.2f}", ha="center", fontsize=7)
    picture.savefig(path, format="png")
