"""What all commands share: how they are registered, and how errors end."""

import functools
import sys
from collections.abc import Callable
from typing import Annotated

import typer


Checkpoint = Annotated[str, typer.Argument(help="Directory of `empathav assemble`, or a Hub id.")]


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
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from None

    app.command(name)(guarded)


def quiet_libraries():
    """Standard output belongs to the result and standard error to what the user must know."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
