"""`empathav memory`: what a memory holds."""

import json
from pathlib import Path
from typing import Annotated

import typer


def inspect_memory(
    directory: Annotated[Path, typer.Argument(help="Directory of a memory, as --memory of `respond` names it.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Checkpoint that made it, to show what its language model reads out of it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Show what is remembered: turns, speakers, bytes, the newest words, and what is read out of the vectors."""
    from ..chat.conversation_file import peek
    from ..chat.recall import contents, recall

    memory, verbatim = peek(directory)
    if len(memory) != 1:
        raise ValueError(f"{directory} holds {len(memory)} conversations: save the one to be shown by itself.")
    texts = None
    if checkpoint is not None:
        from ..chat.responder import Responder

        responder = Responder(checkpoint, asr="")
        texts = recall(responder.model, responder.processor, memory.to(responder.device))
    rows = contents(memory, texts)
    if as_json:
        from ..chat.reply import held

        sizes = held(memory, len(verbatim))
        print(json.dumps({**sizes, "max_vectors": memory.max_vectors, "groups": rows, "messages": verbatim}))
    else:
        from ..chat.terminal import Screen

        Screen().memory(memory, rows, verbatim)
