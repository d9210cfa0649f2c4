"""`empathav card`: writes and checks model cards."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import say


def card(
    checkpoint: Annotated[Path, typer.Argument(help="Directory of a checkpoint, or of an adapter.")],
    facts: Annotated[
        Path | None, typer.Option(help="YAML of what the files do not say: licence, data, results; see docs/hub.md.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base_model", help="USER/NAME of what an adapter belongs to.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write in place of the directory's README.md.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the card that is there.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Let the Hub check it too.")] = False,
):
    """Write the card of a checkpoint or an adapter where there is none, and check it."""
    from ..hub.card import CARD_FILE, read_facts, render_card, save_card
    from ..hub.card_check import card_problems, read_card

    path = output or checkpoint / CARD_FILE
    if path.exists() and not overwrite:
        if facts is not None or base_model is not None:
            raise ValueError(f"{path} is there already: --overwrite replaces it.")
        made = read_card(path)
    else:
        facts = facts or facts_beside_trained_parts(checkpoint)
        given = read_facts(facts) if facts is not None else {}
        made = render_card(checkpoint, **given | ({"base_model": base_model} if base_model else {}))
        if output is None:
            save_card(made, checkpoint)
        else:
            made.save(output)
        say(f"Wrote {path}{f' with {facts}' if facts else ''}.")
    if problems := card_problems(made):
        raise ValueError(f"{path} is not complete: {'; '.join(problems)}. Edit it, or give --facts and --overwrite.")
    if online:
        made.validate()
    say(f"{path} is complete{' and accepted by the Hub' if online else ''}.")


def facts_beside_trained_parts(checkpoint: Path) -> Path | None:
    """The facts in checkpoints/, where just those parts were laid over this directory."""
    from ..checkpoint.wheels import sha256
    from ..hub.card import FACTS_FILE
    from ..hub.card_facts import read_assembly

    assembly = read_assembly(checkpoint)
    folder = Path("checkpoints") / assembly.get("preset", "")
    parts = [(folder / name, digest) for name, digest in assembly.get("trained", {}).items()]
    same = bool(parts) and all(path.is_file() and sha256(path) == digest for path, digest in parts)
    return folder / FACTS_FILE if same and (folder / FACTS_FILE).is_file() else None
