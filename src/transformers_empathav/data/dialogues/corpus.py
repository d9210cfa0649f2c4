"""One loader for every corpus of dialogues."""

import os
from pathlib import Path

from .danger import load_danger
from .earlier_turns import earlier_turns
from .empathetic_dialogues import load_empathetic_dialogues
from .esconv import load_esconv
from .jsonl import load_dialogue_lines
from .meld import load_meld
from .voiced import load_voiced
from .word_for_word import word_for_word


# The loader of each corpus, from its folder and a split. Another one is a file beside this one and a line here.
CORPORA = {"meld": load_meld, "empathetic_dialogues": load_empathetic_dialogues, "esconv": load_esconv}
# Corpora without a folder: this package brings them, or makes them out of dialogues.
BROUGHT = {"danger": load_danger, "voiced": load_voiced}
EARLIER_TURNS, WORD_FOR_WORD = "earlier_turns", "word_for_word"
ASKED_ABOUT = ("empathetic_dialogues", "esconv")


def load_corpus(name: str, split: str) -> list[dict]:
    r"""
    The conversations of a corpus, `{"id", "messages": [{"role", "speaker"?, "emotion"?, "content"}]}`.

    Args:
        name (`str`):
            One of `CORPORA`, in the folder of that name below the one that the environment variable `EMPATHAV_DATA`
            names; `danger` ([`load_danger`]) or `voiced` ([`load_voiced`]); `earlier_turns` ([`earlier_turns`]) or
            `word_for_word` ([`word_for_word`]), both over EmpatheticDialogues and ESConv; or the path of JSON lines of
            your own.
        split (`str`):
            `train` or `dev`, and for MELD and `danger` `test`. JSON lines name theirs, or a tenth of the conversations
            is `dev`.

    Raises:
        `ValueError`: there is no such corpus, file or folder, or `EMPATHAV_DATA` is not set.
    """
    if name in BROUGHT:
        return BROUGHT[name](split)
    if name in (EARLIER_TURNS, WORD_FOR_WORD):
        dialogues = [one for source in ASKED_ABOUT for one in load_corpus(source, split)]
        return earlier_turns(dialogues, split) if name == EARLIER_TURNS else word_for_word(dialogues)
    if name not in CORPORA:
        if not Path(name).is_file():
            known = ", ".join((*CORPORA, *BROUGHT, EARLIER_TURNS, WORD_FOR_WORD))
            raise ValueError(f"{name!r} is neither a file nor one of {known}.")
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
