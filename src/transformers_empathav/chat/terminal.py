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


WORDS_ALONE = "words alone: nobody was heard or seen"


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
        self.console.print(size_of(memory, len(verbatim)))
        table = Table("turn", "who", "what the language model reads")
        for row in rows:
            last = row["turn"] + row["utterances"] - 1
            turn = str(row["turn"]) if row["utterances"] == 1 else f"{row['turn']}-{last}"
            table.add_row(turn, row["role"], escape(printable(row.get("text", ""))))
        for turn, said in enumerate(verbatim, memory.num_utterances):
            table.add_row(str(turn), said["role"], escape(printable(said["content"])), style="bold")
        self.console.print(table)

    def reply(self, reply: Reply):
        """Transcript, emotions, response, memory and times."""
        self.hearing(reply.transcript, reply.reading, reply.emotion, reply.view)
        self.console.print(Panel(Text(printable(reply.response, lines=True)), title="response", title_align="left"))
        if reply.safety is not None:
            self.help(reply.safety)
        self.console.print("[dim]memory  [/dim] " + size_of(reply.memory, reply.verbatim))
        times = ", ".join(f"{stage} {took:.2f}" for stage, took in reply.seconds.items())
        self.console.print(f"[dim]seconds [/dim] {times}\n")

    def help(self, safety: Safety):
        """Who helps somebody in danger."""
        lines = [f"{line.country or 'all':<4}{line.name}: {line.contact}" for line in safety.lines]
        text = Text(printable("\n".join([safety.notice, *lines]), lines=True))
        self.console.print(Panel(text, title="help", title_align="left", border_style="bold red"))

    def hearing(self, transcript: str, reading: str | None, emotion: dict[str, float] | None, view: str = ""):
        """What was said, what the clips show, and the seven emotions as bars."""
        print_ = self.console.print
        print_(f"[dim]heard   [/dim] {escape(printable(transcript, lines=True)) or '(no words)'}")
        print_(f"[dim]reading [/dim] {escape(printable(reading or WORDS_ALONE))}")
        if view:
            print_(f"[dim]in view [/dim] {escape(printable(view))}")
        bars = Table.grid(padding=(0, 2))
        for label, score in (emotion or {}).items():
            style = "bold" if label == reading else "dim"
            bar = ProgressBar(total=1.0, completed=score, width=30)
            bars.add_row(f"[{style}]{escape(printable(label))}[/]", bar, f"[{style}]{score:.2f}[/]")
        print_(bars)

    # Chats

    def piece(self, text: str):
        """Part of a reply, as it comes."""
        self.console.print(Text(printable(text, lines=True), style="bold"), end="", soft_wrap=True)

    def after(self, reply: Reply):
        """What there is to say once a reply is whole."""
        self.console.print()
        if reply.ended == "length":
            self.console.print("[dim](cut at max_new_tokens: /set max_new_tokens N)")
        self.console.print()

    def stopped(self):
        self.console.print(" [dim](stopped)\n")

    def emotions(self, turns: Sequence[dict]):
        """The emotions of all turns of a conversation."""
        table = Table("turn", "reading", "likeliest", "")
        for turn in turns:
            label = max(turn["scores"], key=turn["scores"].get)
            score = turn["scores"][label]
            bar = ProgressBar(total=1.0, completed=score, width=30)
            reading = escape(printable(turn["reading"] or WORDS_ALONE))
            table.add_row(str(turn["turn"]), reading, f"{escape(printable(label))} {score:.2f}", bar)
        self.console.print(table)

    def commands(self, texts: dict[str, str]):
        table = Table.grid(padding=(0, 2))
        for name, text in texts.items():
            table.add_row(f"[bold]{escape(name)}[/]", escape(text))
        self.console.print(table)

    def save_picture(self, path: str | os.PathLike, title: str):
        """Writes what was printed as SVG."""
        self.console.save_svg(str(path), title=printable(title))


def size_of(memory: ConversationMemory, verbatim: int = 0) -> str:
    """What is remembered, in one line."""
    parts = [f"{memory.num_utterances + verbatim} utterances"]
    if verbatim:
        parts.append(f"{verbatim} of them word by word")
    if memory.merged_utterances:
        parts.append(f"{memory.merged_utterances} of them merged")
    return f"{', '.join(parts)}; {memory.num_vectors} vectors, {memory.nbytes:,} bytes"
