"""replies.jsonl: a context a line, with the replies of people and of all systems. It holds sentences of corpora."""

import json
import os
from pathlib import Path

from ...data.replies import text_of


def write_replies_file(
    path: str | os.PathLike, rows: dict[str, list[dict]], replies: dict[str, dict[str, list[dict]]]
):
    r"""
    Writes the file for `empathav study make`.

    Args:
        path (`str` or `os.PathLike`): The file.
        rows (`dict[str, list[dict]]`): Contexts of each corpus, of [`corpus_rows`].
        replies (`dict[str, dict[str, list[dict]]]`): For each corpus the replies of each system.
    """
    lines = []
    for corpus, contexts in rows.items():
        for index, row in enumerate(contexts):
            context = [{"role": message["role"], "content": text_of(message)} for message in row["prompt"]]
            said = {name: written[index]["text"] for name, written in replies[corpus].items()}
            line = {"id": f"{corpus}/{row['id']}", "context": context, "gold": text_of(row["completion"][0])}
            lines.append(json.dumps({**line, "replies": said}, ensure_ascii=False) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def read_replies_file(source: str | os.PathLike) -> dict[str, dict]:
    r"""
    Reads the file, by the id of each context.

    Args:
        source (`str` or `os.PathLike`): The file, or the output directory of recipes/evaluate.py that holds it.

    Raises:
        `ValueError`: there is no such file, or a line is no context with replies.
    """
    path = Path(source)
    path = path / "replies.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give an output directory of recipes/evaluate.py.")
    rows = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows[row["id"]] = {name: row[name] for name in ("id", "context", "gold", "replies")}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number} is no context with replies ({error!r}): give the replies.jsonl that "
                "recipes/evaluate.py wrote."
            ) from None
    return rows
