"""The `empathav` command, a file for each of its commands. Heavy libraries are imported when a command runs."""

import typer

from .app import web_page
from .assemble import assemble
from .card import card
from .chat import chat
from .demo import demo
from .emotion import emotion
from .memory import inspect_memory
from .respond import respond
from .serve import serve
from .shared import add_command
from .study import study_make, study_score


QUIET = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False}

app = typer.Typer(name="empathav", help="Empathetic responses in audio-visual conversations.", **QUIET)
for command in (assemble, chat, respond, emotion, card, demo, serve):
    add_command(app, command)
add_command(app, web_page, "app")
add_command(app, inspect_memory, "memory")

study = typer.Typer(help="Let people rate replies, blind.", **QUIET)
add_command(study, study_make, "make")
add_command(study, study_score, "score")
app.add_typer(study, name="study")


def main():
    """Entry point of the console script."""
    app()
