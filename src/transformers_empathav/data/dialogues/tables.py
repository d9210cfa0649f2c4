"""CSV files as the corpora publish them."""

import csv
from collections.abc import Iterator
from pathlib import Path


def read_csv(path: Path) -> Iterator[dict]:
    """Rows of a csv file by the names in its first line; bytes that are no UTF-8 become a replacement character."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        yield from csv.DictReader(file)


def mend_quotes(text: str) -> str:
    """Puts the punctuation of Windows-1252 in place of the control characters that it was read as, and strips."""
    return "".join(
        character.encode("latin-1").decode("cp1252", "replace") if "\x80" <= character <= "\x9f" else character
        for character in text
    ).strip()
