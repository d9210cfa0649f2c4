"""`empathav study`: people rate replies, blind."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .shared import say


def study_make(
    results: Annotated[list[Path], typer.Argument(help="Output directories of recipes/evaluate.py.")],
    output: Annotated[Path, typer.Option(help="Rating page to write.")] = Path("study.html"),
    key: Annotated[Path | None, typer.Option(help="Which reply is whose; beside the page by default.")] = None,
    contexts: Annotated[int, typer.Option(min=1, help="Conversations to rate.")] = 20,
    system: Annotated[list[str] | None, typer.Option(help="Whose replies; may be repeated. All by default.")] = None,
    human: Annotated[bool, typer.Option("--human", help="Rate the human reply too.")] = False,
    seed: Annotated[int, typer.Option(help="Which conversations are drawn.")] = 0,
):
    """Write a rating page that works offline and names no system, and the key to it."""
    from ..evaluation.raters.study import make_study

    key = key or output.with_suffix(".key.json")
    made = make_study(results, output, key, contexts, system, human, seed)
    count = len(made["items"]) // len(made["systems"])
    say(f"{output}: {count} conversations, {len(made['systems'])} replies each. Keep {key} from the raters.")


def study_score(
    files: Annotated[list[Path], typer.Argument(help="Files of ratings that the page saved, one a rater.")],
    key: Annotated[Path, typer.Option(help="The key that was written with the page.")] = Path("study.key.json"),
    plot: Annotated[Path | None, typer.Option(help="PNG to write: means with their intervals.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
):
    """Means, intervals and agreement of the ratings."""
    from ..evaluation.raters.study import plot_scores, score_study, show_scores

    result = score_study(files, key)
    say(json.dumps(result) if as_json else show_scores(result))
    if plot is not None:
        plot_scores(result, plot)
