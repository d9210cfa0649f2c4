"""CSV files as the corpora publish them."""

import csv
from collections.abc import Iterator
from pathlib import Path


def read_csv(path: Path) -> Iterator[dict]:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        yield from csv.DictReader(file)


def mend_quotes(text: str) -> str:
    """Stray Windows-1252 bytes that were read as control characters become the punctuation they stood for."""
    return "".join(
        character.encode("latin-1").decode("cp1252", "replace") if "\x80" <= character <= "\x9f" else character
        for character in text
    ).strip()
