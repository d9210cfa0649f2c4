"""Replies in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..modeling.conversation_memory_empathav import ConversationMemory
from .responder import Reply


def show_heading(text: str):
    Console().rule(f"[bold]{escape(text)}", align="left")


def show_note(text: str):
    Console().print(f"[italic]{escape(text)}\n")


def size_of(memory: ConversationMemory) -> str:
    """What a memory holds, in one line."""
    merged = f", {memory.merged_utterances} of them merged" if memory.merged_utterances else ""
    return f"{memory.num_utterances} utterances{merged} in {memory.num_vectors} vectors, {memory.nbytes:,} bytes"


def show_memory(memory: ConversationMemory, rows: list[dict]):
    """Prints the utterances of a memory."""
    table = Table("turn", "who", "what the language model reads", title=size_of(memory), title_justify="left")
    for row in rows:
        turn = str(row["turn"]) if row["utterances"] == 1 else f"{row['turn']}-{row['turn'] + row['utterances'] - 1}"
        table.add_row(turn, row["role"], escape(row.get("text", "")))
    Console().print(table)


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
    console.print("[dim]memory  [/dim] " + size_of(memory))
    console.print(
        "[dim]seconds [/dim] " + ", ".join(f"{stage} {took:.2f}" for stage, took in reply.seconds.items()) + "\n"
    )
