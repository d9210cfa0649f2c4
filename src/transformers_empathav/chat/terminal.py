"""Conversations in a terminal."""

import os
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..modeling.conversation_memory_empathav import ConversationMemory
from .printable import printable
from .reply import Reply
from .safety import Safety


class Screen:
    """
    Prints replies and memories on standard output, see [`printable`]; `save_picture` writes what was printed as a
    picture.
    """

    def __init__(self):
        self.console = Console(record=True)

    def heading(self, text: str):
        self.console.rule(f"[bold]{escape(printable(text))}", align="left")

    def note(self, text: str):
        self.console.print(f"[italic]{escape(printable(text, lines=True))}\n")

    def memory(self, memory: ConversationMemory, rows: list[dict], verbatim: Sequence[dict] = ()):
        """The utterances of a memory, as [`contents`] lists them, and the newest messages, word by word."""
        title = size_of(memory, len(verbatim))
        table = Table("turn", "who", "what the language model reads", title=title, title_justify="left")
        for row in rows:
            last = row["turn"] + row["utterances"] - 1
            turn = str(row["turn"]) if row["utterances"] == 1 else f"{row['turn']}-{last}"
            table.add_row(turn, row["role"], escape(printable(row.get("text", ""))))
        for turn, said in enumerate(verbatim, memory.num_utterances):
            table.add_row(str(turn), said["role"], escape(printable(said["content"])), style="bold")
        self.console.print(table)

    def reply(self, reply: Reply):
        """Transcript, emotions, response, memory and times."""
        print_ = self.console.print
        self.hearing(reply)
        print_(Panel(Text(printable(reply.response, lines=True)), title="response", title_align="left"))
        if reply.safety is not None:
            self.help(reply.safety)
        print_("[dim]memory  [/dim] " + size_of(reply.memory, reply.verbatim))
        print_(
            "[dim]seconds [/dim] " + ", ".join(f"{stage} {took:.2f}" for stage, took in reply.seconds.items()) + "\n"
        )

    def help(self, safety: Safety):
        """Who helps somebody in danger."""
        lines = [f"{line.country or 'all':<4}{line.name}: {line.contact}" for line in safety.lines]
        text = Text(printable("\n".join([safety.notice, *lines]), lines=True))
        self.console.print(Panel(text, title="help", title_align="left", border_style="bold red"))

    def hearing(self, reply: Reply):
        """Transcript, what the clips show, and the seven emotions as bars."""
        print_ = self.console.print
        print_(f"[dim]heard   [/dim] {escape(printable(reply.transcript, lines=True)) or '(no words)'}")
        reading = reply.reading or "from the words alone, nobody was heard or seen"
        print_(f"[dim]reading [/dim] {escape(printable(reading))}")
        bars = Table.grid(padding=(0, 2))
        for label, score in reply.emotion.items():
            style = "bold" if label == reply.reading else "dim"
            bar = ProgressBar(total=1.0, completed=score, width=30)
            bars.add_row(f"[{style}]{escape(printable(label))}[/]", bar, f"[{style}]{score:.2f}[/]")
        print_(bars)

    def save_picture(self, path: str | os.PathLike, title: str):
        """Writes what was printed as SVG."""
        self.console.save_svg(str(path), title=printable(title))


def size_of(memory: ConversationMemory, verbatim: int = 0) -> str:
    """What is remembered, in one line."""
    merged = f", {memory.merged_utterances} of them merged" if memory.merged_utterances else ""
    text = f"{memory.num_utterances} utterances{merged} in {memory.num_vectors} vectors, {memory.nbytes:,} bytes"
    return f"{text}; {verbatim} word by word" if verbatim else text
