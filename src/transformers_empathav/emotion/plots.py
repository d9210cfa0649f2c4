"""Plots of emotions: over time, and of several clips."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .clip_reader import ClipEmotion


COLOURS = ("#c0392b", "#7f8c3a", "#8e44ad", "#e8a33d", "#7f8c8d", "#2e6da4", "#1f9e89")


def plot_emotions(found: list[ClipEmotion], labels: Sequence[str], path: str | os.PathLike):
    """Writes a PNG: the timeline of one clip that has one, else a bar for each clip."""

    def matrix(windows):
        return np.array([[window.scores[label] for label in labels] for window in windows])

    if len(found) == 1 and found[0].timeline:
        windows = found[0].timeline
        times = [(window.start + window.end) / 2 for window in windows]
        plot_timeline(times, matrix(windows), labels, path, Path(found[0].clip).name)
    else:
        plot_bars([Path(clip.clip).name for clip in found], matrix([clip.whole for clip in found]), labels, path)


def figure(width: float, height: float):
    """
    An empty matplotlib figure of `width` by `height` inches.

    Raises:
        `ImportError`: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("A plot needs matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


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
