"""`empathav respond`: answers one turn."""

import json
from collections.abc import Sequence
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
    read_limits,
    writing_options,
)


def respond(
    checkpoint: Checkpoint,
    clips: Annotated[list[str] | None, typer.Argument(help="Clips of one user turn: sound or video.")] = None,
    text: Annotated[str | None, typer.Option(help="What was said; transcribed from the clips if not given.")] = None,
    history: Annotated[Path | None, typer.Option(help="Messages before this turn, JSON lines; memorised too.")] = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="Directory of a conversation: read if it is there, written back with this exchange."),
    ] = None,
    system: System = None,
    recent_turns: RecentTurns = None,
    asr: Recogniser = None,
    transcribe: Annotated[bool, typer.Option("--transcribe/--no-transcribe", help="Recognise speech.")] = True,
    max_vectors: MaxVectors = None,
    int8: Int8 = False,
    careful: Careful = True,
    max_new_tokens: MaxNewTokens = 96,
    temperature: Temperature = None,
    top_p: TopP = None,
    limit: Limits = None,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Answer one turn: the emotion, the reply, and what the memory holds."""
    if not clips and not (text and text.strip()):
        raise ValueError("There is nothing to answer: give a clip, or --text, or both.")
    if asr is not None and (text is not None or not transcribe):
        raise ValueError("--asr has nothing to recognise beside --text or --no-transcribe: leave one of them out.")
    if memory is not None and memory.exists() and not memory.is_dir():
        raise ValueError(f"{memory} is a file: --memory names the directory of a memory.")
    writing = writing_options(temperature, top_p, seed)
    limits = read_limits(limit)
    check_clips(clips or [])
    messages = read_history(history) if history is not None else []

    from ..chat.conversation import Conversation
    from ..chat.conversation_file import is_conversation
    from ..chat.responder import Responder

    responder = Responder(
        checkpoint, asr=asr if transcribe else "", max_vectors=max_vectors, limits=limits, int8=int8, careful=careful
    )
    known = memory is not None and is_conversation(memory)
    conversation = Conversation.load(memory, responder) if known else Conversation(responder)
    conversation.read_words = True
    conversation.system = conversation.system if system is None else system
    conversation.recent_turns = conversation.recent_turns if recent_turns is None else recent_turns
    conversation.add(messages)
    reply = conversation.say(text, clips or [], max_new_tokens=max_new_tokens, **writing)
    if as_json:
        print(json.dumps(reply.to_dict()))
    else:
        from ..chat.terminal import Screen

        Screen().reply(reply)
    if memory is not None:  # last: a memory that cannot be written takes no reply with it
        try:
            conversation.save(memory, must_be_new=not known)
        except OSError as error:
            raise OSError(f"--memory {memory} cannot be written ({error}): name a directory where you may.") from None
        except ValueError as error:
            raise ValueError(f"--memory {memory} does not hold this exchange: {error}") from None


def read_history(path: Path) -> list[dict]:
    """
    Messages of a JSON lines file.

    Raises:
        `ValueError`: names the line that is no message.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file: --history names a file of JSON lines.")
    messages = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if line.strip():
            try:
                message = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:  # also of an integer of thousands of digits, and of [[[[...
                raise ValueError(
                    f"{path}, line {number} is not JSON in UTF-8 ({error}): write one message such as "
                    '{"role": "user", "content": "Hello"} on each line.'
                ) from None
            check_message(message, f"{path}, line {number}")
            messages.append(message)
    return messages


def check_message(message: dict, name: str):
    from ..modeling.configuration_empathav import EMOTION_LABELS
    from ..processing.messages_empathav import parse_message

    parse_message(message, name, EMOTION_LABELS)


def check_clips(clips: Sequence[str]):
    """Refuses addresses, and files that are not there, before anything is loaded."""
    if urls := [clip for clip in clips if "://" in clip]:
        raise ValueError(f"{urls[0]} is an address: download the clip and give its path.")
    if missing := [clip for clip in clips if not Path(clip).exists()]:
        raise FileNotFoundError(f"{missing[0]} does not exist: check the path.")
