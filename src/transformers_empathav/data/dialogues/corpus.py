"""One loader for every corpus of dialogues."""

import os
from pathlib import Path

from .empathetic_dialogues import load_empathetic_dialogues
from .esconv import load_esconv
from .jsonl import load_dialogue_lines
from .meld import load_meld


# The loader of each corpus, from its folder and a split. Another one is a file beside this one and a line here.
CORPORA = {"meld": load_meld, "empathetic_dialogues": load_empathetic_dialogues, "esconv": load_esconv}


def load_corpus(name: str, split: str) -> list[dict]:
    r"""
    The conversations of a corpus, `{"id", "messages": [{"role", "speaker"?, "emotion"?, "content"}]}`.

    Args:
        name (`str`):
            One of `CORPORA`, in the folder of that name below the one that the environment variable `EMPATHAV_DATA`
            names; or the path of JSON lines of your own.
        split (`str`):
            `train` or `dev`, and for MELD `test`. JSON lines name theirs, or a tenth of the conversations is `dev`.

    Raises:
        `ValueError`: there is no such corpus, file or folder, or `EMPATHAV_DATA` is not set.
    """
    if name not in CORPORA:
        if not Path(name).is_file():
            raise ValueError(f"{name!r} is neither a file nor one of {', '.join(CORPORA)}.")
        return load_dialogue_lines(name, split)
    root = os.environ.get("EMPATHAV_DATA")
    if not root:
        raise ValueError(
            f"{name} is looked for in the folder that the environment variable EMPATHAV_DATA names: set it."
        )
    folder = Path(root) / name
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: put {name} there, or let EMPATHAV_DATA name another place.")
    return CORPORA[name](folder, split)
