"""One loader for every corpus of dialogues."""

import os
from pathlib import Path

from .danger import load_danger
from .earlier_turns import earlier_turns
from .empathetic_dialogues import load_empathetic_dialogues
from .esconv import load_esconv
from .jsonl import load_dialogue_lines
from .meld import load_meld


# The loader of each corpus, from its folder and a split. Another one is a file beside this one and a line here.
CORPORA = {"meld": load_meld, "empathetic_dialogues": load_empathetic_dialogues, "esconv": load_esconv}
# Corpora without a folder: this package brings one, and makes the other out of dialogues.
DANGER, EARLIER_TURNS = "danger", "earlier_turns"
ASKED_ABOUT = ("empathetic_dialogues", "esconv")


def load_corpus(name: str, split: str) -> list[dict]:
    r"""
    The conversations of a corpus, `{"id", "messages": [{"role", "speaker"?, "emotion"?, "content"}]}`.

    Args:
        name (`str`):
            One of `CORPORA`, in the folder of that name below the one that the environment variable `EMPATHAV_DATA`
            names; `danger` ([`load_danger`]); `earlier_turns` ([`earlier_turns`] over EmpatheticDialogues and
            ESConv); or the path of JSON lines of your own.
        split (`str`):
            `train` or `dev`, and for MELD and `danger` `test`. JSON lines name theirs, or a tenth of the conversations
            is `dev`.

    Raises:
        `ValueError`: there is no such corpus, file or folder, or `EMPATHAV_DATA` is not set.
    """
    if name == DANGER:
        return load_danger(split)
    if name == EARLIER_TURNS:
        return earlier_turns([one for source in ASKED_ABOUT for one in load_corpus(source, split)], split)
    if name not in CORPORA:
        if not Path(name).is_file():
            raise ValueError(f"{name!r} is neither a file nor one of {', '.join((*CORPORA, DANGER, EARLIER_TURNS))}.")
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
