"""The measures as modules of `evaluate`: each file loads by its path and needs no Hub."""

from pathlib import Path


FOLDER = Path(__file__).parent


def load_metric(name: str):
    r"""
    A module of this folder, as `evaluate.load` gives it.

    Args:
        name (`str`): `bleu`, `rouge`, `meteor`, `bertscore`, `distinct`, `embedding_similarity`,
            `emotional_similarity`, `epitome`, `perplexity` or `reply_length`.

    Raises:
        `ValueError`: there is no such module.
    """
    import evaluate

    names = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    if name not in names:
        raise ValueError(f"There is no metric {name!r}: choose one of {', '.join(names)}.")
    return evaluate.load(str(FOLDER / f"{name}.py"))
