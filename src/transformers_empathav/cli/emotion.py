"""`empathav emotion`: what clips show."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .respond import check_clips
from .shared import Checkpoint, Limits, read_limits


if TYPE_CHECKING:
    from ..emotion.clip_reader import ClipEmotion


def emotion(
    checkpoint: Checkpoint,
    clips: Annotated[list[str], typer.Argument(help="Clips: sound or video.")],
    timeline: Annotated[bool, typer.Option("--timeline", help="Score a sliding window too.")] = False,
    window: Annotated[float, typer.Option(help="Length of the sliding window, in seconds.")] = 4.0,
    hop: Annotated[float, typer.Option(help="Step from one window to the next, in seconds.")] = 1.0,
    limit: Limits = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to write: emotions over time, or of several clips.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Say what clips show: the probability of each emotion, of the whole clip and over time."""
    check_clips(clips)
    if plot is not None and timeline and len(clips) > 1:
        raise ValueError("A plot of a timeline shows one clip: give one clip, or leave --timeline out.")

    limits = read_limits(limit)
    from ..emotion.clip_reader import EmotionReader
    from ..emotion.plots import plot_emotions

    reader = EmotionReader(checkpoint, limits=limits)
    labels = reader.model.config.emotion_labels
    found = [reader(clip, timeline, window, hop) for clip in clips]
    if as_json:
        print(json.dumps({"clips": [clip.to_dict() for clip in found]}))
    else:
        show_emotions(found, labels)
    if plot is not None:
        plot_emotions(found, labels, plot)


def show_emotions(found: "list[ClipEmotion]", labels: Sequence[str]):
    """Prints for each clip its scores, and under them those of each window of its timeline."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..chat.printable import printable

    console = Console()
    for clip in found:
        console.print(
            f"[bold]{escape(printable(clip.clip))}[/] [dim]({' and '.join(clip.streams)})[/]", soft_wrap=True
        )
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("seconds", "emotion", *labels):
            table.add_column(heading, justify="left" if heading == "emotion" else "right", no_wrap=True)
        for window in (clip.whole, *clip.timeline):
            scores = [f"{window.scores[label]:.2f}" for label in labels]
            table.add_row(
                f"{window.start:.1f}-{window.end:.1f}", window.label, *scores, end_section=window is clip.whole
            )
        console.print(table)
