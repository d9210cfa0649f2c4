"""What all commands share: how they are registered, and how errors end."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ..chat.printable import printable


Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", help="Limit on clips, NAME=NUMBER, such as max_seconds=900; may be given several times."),
]
Checkpoint = Annotated[str, typer.Argument(help="Directory of `empathav assemble`, or a Hub id.")]
Recogniser = Annotated[
    str | None, typer.Option("--asr", help="Speech recogniser of transformers: Hub id or directory.")
]
MaxVectors = Annotated[
    int | None,
    typer.Option(min=1, help="Budget of a memory, in vectors; its own, or half the model's positions."),
]
Int8 = Annotated[bool, typer.Option("--int8", help="Round the language model's weights to 8 bits: faster on a CPU.")]
Careful = Annotated[bool, typer.Option(help="Answer a danger that was found in fixed words; else the model answers.")]
System = Annotated[str | None, typer.Option(help="System prompt; the checkpoint's own if not given.")]
RecentTurns = Annotated[int | None, typer.Option(min=1, help="Newest messages kept word by word.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")]
Temperature = Annotated[float | None, typer.Option(help="Sample, at this temperature; else greedy.")]
TopP = Annotated[float | None, typer.Option(help="Sample, from the likeliest tokens of this share.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampled replies the same each time.")]


def add_command(app: typer.Typer, command: Callable, name: str | None = None):
    """
    Adds a function as a command. What the user can mend, a `ValueError`, `OSError` or `ImportError`, ends in one line
    on standard error and exit code 2; any other error is a bug and shows itself.
    """

    @functools.wraps(command)
    def guarded(*args, **kwargs):
        quiet_libraries()
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError, ImportError) as error:
            fail(error)
            raise typer.Exit(2) from None

    app.command(name)(guarded)


def fail(error: Exception):
    """Says in one line on standard error what went wrong."""
    lines = [line.strip() for line in str(error).split("\n")]
    print(f"error: {printable(' '.join(filter(None, lines)))}", file=sys.stderr, flush=True)


def writing_options(temperature: float | None, top_p: float | None, seed: int | None) -> dict:
    """
    Options of `generate` that choose how a reply is sampled; none is where none is given.

    Raises:
        `ValueError`: If one is out of range, or there is nothing to seed.
    """
    if temperature is not None and not 0 < temperature <= 10:
        raise ValueError(f"--temperature {temperature:g} is not above 0 and at most 10: leave it out for no sampling.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"--top-p {top_p:g} is no share above 0 and at most 1.")
    given = {name: value for name, value in (("temperature", temperature), ("top_p", top_p)) if value is not None}
    if seed is not None and not given:
        raise ValueError("--seed has nothing to seed: give --temperature or --top-p, too.")
    return {"do_sample": True, "seed": seed, **given} if given else {}


def read_limits(given: list[str] | None) -> dict[str, float]:
    """
    The limits of `--limit`, by name.

    Raises:
        `ValueError`: there is no such limit, or it is no number above zero.
    """
    from ..processing.media_limits_empathav import MediaLimits, number

    limits = {}
    for text in given or []:
        name, _, value = text.partition("=")
        limits[name] = value
    MediaLimits().changed(limits)
    return {name: number(value, name) for name, value in limits.items()}


def say(text: str):
    """Prints a result for people, see [`printable`]."""
    print(printable(text, lines=True))


class PrintableFormatter(logging.Formatter):
    """Formats warnings, which may quote file names, as [`printable`] text."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def quiet_libraries():
    """Standard output belongs to the result and standard error to what the user must know."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    if logging.lastResort is not None:  # what prints the warnings of this package
        logging.lastResort.setFormatter(PrintableFormatter())
