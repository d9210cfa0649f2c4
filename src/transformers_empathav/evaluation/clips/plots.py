"""Plots of recognised emotions: confusion and robustness."""

import os
from collections.abc import Sequence

import numpy as np

from ...emotion.plots import COLOURS, figure


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
