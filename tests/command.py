"""Calls of `empathav respond` in this process: answered, or refused in one line."""

import json
import signal
from pathlib import Path

from typer.testing import CliRunner

from transformers_empathav.cli import app


SHORT = ("--max-new-tokens", "8")


def heed_interrupts():
    """For a new process: one that is started in the background ignores Ctrl-C, and so do those that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def respond(*arguments):
    return CliRunner().invoke(app, ["respond", *map(str, arguments), *SHORT])


def answered(*arguments) -> dict:
    result = respond(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*arguments) -> str:
    """The one line on standard error of a call that must fail."""
    result = respond(*arguments)
    assert result.exit_code == 2, (result.stdout, result.stderr, result.exception)
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
