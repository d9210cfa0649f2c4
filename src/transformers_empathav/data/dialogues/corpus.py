"""
One loader for every corpus of dialogues, in one schema: `{"id", "messages": [{"role", "speaker"?, "emotion"?,
"content"}]}`.
"""

import os
from pathlib import Path

from .empathetic_dialogues import load_empathetic_dialogues
from .esconv import load_esconv
from .jsonl import load_jsonl
from .meld import load_meld


def load_corpus(name: str, split: str) -> list[dict]:
    """
    A corpus by name (`meld`, `empathetic_dialogues`, `esconv`) from the folder that `EMPATHAV_DATA` names, or
    JSON lines of your own by their path.
    """
    loaders = {"meld": load_meld, "empathetic_dialogues": load_empathetic_dialogues, "esconv": load_esconv}
    if name not in loaders:
        if not Path(name).is_file():
            raise ValueError(f"{name!r} is neither a file nor one of {', '.join(loaders)}.")
        return load_jsonl(name)
    root = os.environ.get("EMPATHAV_DATA")
    if not root:
        raise ValueError(
            f"{name} is looked for in the folder that the environment variable EMPATHAV_DATA names: set it."
        )
    return loaders[name](Path(root) / name, split)
