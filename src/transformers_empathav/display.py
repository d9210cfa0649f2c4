"""Replies in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .responding import Reply


def show_heading(text: str):
    Console().rule(f"[bold]{escape(text)}", align="left")


def show_note(text: str):
    Console().print(f"[italic]{escape(text)}\n")


def show_reply(reply: Reply):
    """Prints transcript, the seven emotions as bars, response, memory and times."""
    console = Console()
    console.print(f"[dim]heard   [/dim] {escape(reply.transcript) or '(no words)'}")
    bars = Table.grid(padding=(0, 2))
    for label, score in reply.emotion.items():
        style = "bold" if label == reply.label else "dim"
        bars.add_row(
            f"[{style}]{label}[/]", ProgressBar(total=1.0, completed=score, width=30), f"[{style}]{score:.2f}[/]"
        )
    console.print(bars)
    console.print(Panel(Text(reply.response), title="response", title_align="left"))
    memory = reply.memory
    console.print(
        f"[dim]memory  [/dim] {memory.num_utterances} utterances in {memory.num_vectors} vectors, "
        f"{memory.nbytes:,} bytes"
    )
    console.print(
        "[dim]seconds [/dim] " + ", ".join(f"{stage} {took:.2f}" for stage, took in reply.seconds.items()) + "\n"
    )
