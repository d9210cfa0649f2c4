"""`empathav emotion`: what clips show."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..emotion.clip_reader import ClipEmotion


def show_emotions(found: list[ClipEmotion], labels: Sequence[str]):
    """Prints for each clip its scores, and under them those of each window of its timeline."""
    console = Console()
    for clip in found:
        console.print(f"[bold]{escape(clip.clip)}[/] [dim]({' and '.join(clip.streams)})[/]", soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("seconds", "emotion", *labels):
            table.add_column(heading, justify="left" if heading == "emotion" else "right", no_wrap=True)
        for window in (clip.whole, *clip.timeline):
            scores = [f"{window.scores[label]:.2f}" for label in labels]
            table.add_row(
                f"{window.start:.1f}-{window.end:.1f}", window.label, *scores, end_section=window is clip.whole
            )
        console.print(table)
