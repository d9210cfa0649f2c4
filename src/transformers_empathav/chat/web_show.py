"""What the web page shows of a visit. All that comes from outside is shown as text, never as HTML or Markdown."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .printable import printable
from .reply import held
from .safety import Safety


if TYPE_CHECKING:
    from .visit import Visit

WORDS_ALONE = "from the words alone"
COLOURS = ("#c0392b", "#7f8c3a", "#8e44ad", "#e8a33d", "#7f8c8d", "#2e6da4", "#1f9e89")


def as_text(text: str) -> str:
    """A text within HTML; braces and dollars are escaped, too, as Gradio's templates would read them."""
    text = html.escape(printable(text, lines=True))
    return text.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def messages(visit: "Visit", asked: str | None = None, answer: str = "") -> list[dict]:
    """The conversation for `gr.Chatbot`, with the message that is being answered."""
    shown, gone = [], sum(line is None for line in visit.lines)
    if gone:
        shown.append(message("assistant", f"({gone} earlier messages are remembered, but not word by word.)"))
    for line in visit.lines:
        if line is not None:
            note = "" if line.reading is None else f"\n[heard and seen: {with_view(line.reading, line.view)}]"
            shown.append(message(line.role, (line.text or "(no words)") + note))
    if asked is not None:
        shown += [message("user", asked or "(no words)"), message("assistant", answer or "…")]
    return shown


def message(role: str, text: str) -> dict:
    """A message of `gr.Chatbot`, which without Markdown still takes HTML."""
    return {"role": role, "content": as_text(text)}


def with_view(reading: str, view: str) -> str:
    """How a clip was read, and what limits what was seen in it."""
    return f"{reading}; {view}" if view else reading


def choices(visit: "Visit") -> list[tuple[str, int]]:
    """The messages that can be forgotten, with their numbers."""
    names = {"user": "you", "assistant": "reply"}
    return [
        (f"{turn + 1}: no longer word by word", turn)
        if line is None
        else (f"{turn + 1}, {names.get(line.role, line.role)}: {shortened(line.text)}", turn)
        for turn, line in enumerate(visit.lines)
    ]


def shortened(text: str) -> str:
    words = printable(" ".join(text.split()))
    return words if len(words) <= 40 else words[:39] + "…"


def newest_emotion(visit: "Visit") -> tuple[str, dict[str, float] | None]:
    """How the emotion of the newest turn was read, and its probabilities; of what was just heard, where it was."""
    if visit.heard is not None:
        return visit.heard.reading, visit.heard.emotion
    if not visit.conversation.emotions:
        return "", None
    felt = visit.conversation.emotions[-1]
    return felt["reading"] or WORDS_ALONE, felt["scores"]


def over_time(visit: "Visit"):
    """The emotions of all turns as a `pandas.DataFrame` with the columns turn, emotion and probability."""
    import pandas

    rows = [
        {"turn": turn, "emotion": emotion, "probability": score}
        for turn, felt in enumerate(visit.conversation.emotions, 1)
        for emotion, score in felt["scores"].items()
    ]
    if not rows:  # Gradio's plot draws no lines later where it began without any
        rows = [{"turn": 1, "emotion": emotion, "probability": float("nan")} for emotion in visit.labels]
    return pandas.DataFrame(rows)


def colours(labels: Sequence[str]) -> dict[str, str]:
    """The colour of each emotion."""
    return {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(labels)}


def legend(labels: Sequence[str]) -> str:
    """Which line is which emotion, as HTML."""
    found = colours(labels).items()
    marks = (f'<span style="color: {colour}">■</span>&nbsp;{as_text(label)}' for label, colour in found)
    return " &ensp; ".join(marks)


def memory(visit: "Visit") -> str:
    """What is remembered and what it costs, as a table in Markdown."""
    conversation = visit.conversation
    sizes = held(conversation.memory, len(conversation.tail))
    more = "more than " if None in visit.lines else ""
    rows = {
        "messages remembered": f"{sizes['utterances']:,}",
        "of them word by word": f"{sizes['verbatim']:,}",
        "memory vectors": f"{sizes['vectors']:,}",
        "bytes of the memory": f"{sizes['bytes']:,}",
        "newest prompt, in positions": f"{visit.prompt:,}" if visit.prompt else "none yet",
        "with all words in it": f"{more}{visit.full_prompt():,}" if visit.prompt else "none yet",
    }
    return "\n".join(["| memory | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows.items())])


def help_lines(safety: Safety | None) -> str:
    """Who helps, as HTML; empty without danger."""
    if safety is None:
        return ""
    lines = "".join(
        f"<li>{as_text(line.country or 'All countries')} · {linked(line.name, line.source)}: "
        f"<strong>{as_text(line.contact)}</strong></li>"
        for line in safety.lines
    )
    return f"<p><strong>{as_text(safety.notice)}</strong></p><ul>{lines}</ul>"


def linked(name: str, address: str) -> str:
    if not address.startswith("https://"):
        return as_text(name)
    return f'<a href="{as_text(address)}" target="_blank" rel="noopener noreferrer">{as_text(name)}</a>'


def status(text: str, wrong: bool = False) -> str:
    """One line for the visitor, as HTML."""
    return f'<p class="{"wrong" if wrong else "status"}">{as_text(" ".join(text.split()))}</p>' if text else ""
