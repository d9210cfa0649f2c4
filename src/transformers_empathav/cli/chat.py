"""`empathav chat`: a conversation in the terminal."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from .shared import (
    Careful,
    Checkpoint,
    Int8,
    Limits,
    MaxNewTokens,
    MaxVectors,
    RecentTurns,
    Recogniser,
    Seed,
    System,
    Temperature,
    TopP,
    fail,
    read_limits,
    writing_options,
)


def chat(
    checkpoint: Checkpoint,
    memory: Annotated[
        Path | None,
        typer.Option(help="Directory of a conversation: gone on with if it is there, saved after each exchange."),
    ] = None,
    system: System = None,
    recent_turns: RecentTurns = None,
    keep_transcript: Annotated[bool, typer.Option(help="Keep all words, so that /forget is exact.")] = False,
    asr: Recogniser = None,
    max_vectors: MaxVectors = None,
    int8: Int8 = False,
    careful: Careful = True,
    max_new_tokens: MaxNewTokens = 96,
    temperature: Temperature = None,
    top_p: TopP = None,
    limit: Limits = None,
    seed: Seed = None,
):
    """Talk: write a line, or /clip FILE. /help lists what else there is. Ctrl-C stops a reply, Ctrl-D ends."""
    if memory is not None and memory.exists() and not memory.is_dir():
        raise ValueError(f"{memory} is a file: --memory names the directory of a conversation.")
    sampling = writing_options(temperature, top_p, seed)
    sampling.pop("do_sample", None)
    limits = read_limits(limit)

    from ..chat.commands import Chat
    from ..chat.conversation import Conversation
    from ..chat.conversation_file import is_conversation
    from ..chat.responder import Responder
    from ..chat.terminal import Screen

    responder = Responder(checkpoint, asr=asr, max_vectors=max_vectors, limits=limits, int8=int8, careful=careful)
    screen = Screen()
    if memory is not None and is_conversation(memory):
        conversation = Conversation.load(memory, responder)
        conversation.system = conversation.system if system is None else system
        conversation.recent_turns = recent_turns or conversation.recent_turns
        screen.note(f"Going on after {len(conversation)} messages.")
    else:
        conversation = Conversation(
            responder, system=system, recent_turns=recent_turns, keep_transcript=keep_transcript
        )
    settings = {
        "max_new_tokens": max_new_tokens,
        **{name: value for name, value in sampling.items() if value is not None},
    }
    talk, failed = Chat(responder, screen, conversation, settings, memory), False
    for line in typed() if sys.stdin.isatty() else sys.stdin:
        try:
            if not talk.line(line):
                break
        except (ValueError, OSError) as error:
            fail(error)
            failed = True
        except KeyboardInterrupt:  # while a clip was heard, say
            screen.stopped()
    if failed and not sys.stdin.isatty():
        raise typer.Exit(2)


def typed() -> Iterator[str]:
    """Lines of a person, who may edit them and call earlier ones back with the arrow keys."""
    from prompt_toolkit import PromptSession

    session = PromptSession()
    while True:
        try:
            yield session.prompt("you> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
