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
    """Show what a memory holds: turns, speakers, bytes, and what the language model reads out of it."""
    from ..modeling.conversation_memory_empathav import ConversationMemory

    memory = ConversationMemory.from_pretrained(directory)
    if len(memory) != 1:
        raise ValueError(f"{directory} holds {len(memory)} conversations: save the one to be shown by itself.")
    from ..chat.recall import contents, recall

    texts = None
    if checkpoint is not None:
        from ..chat.responder import Responder

        responder = Responder(checkpoint, asr="")
        texts = recall(responder.model, responder.processor, memory.to(responder.device))
    rows = contents(memory, texts)
    if as_json:
        from ..chat.responder import held

        print(json.dumps({**held(memory), "max_vectors": memory.max_vectors, "groups": rows}))
    else:
        from ..chat.terminal import Screen

        Screen().memory(memory, rows)
