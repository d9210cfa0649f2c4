"""
Which families of language models can be assembled: a tiny random model of each is, and its figures are tabled.

    python benchmarks/families.py [--write] [family ...]

Prints the table of docs/howto/language-models.md, where `--write` puts it; the last line is one line of JSON. What a
tiny random model cannot show: how well a large trained one answers, and precision other than float32 on a CPU.
"""

import argparse
import json
import re
import tempfile
import warnings
from pathlib import Path

import torch
from transformers.utils import logging

from transformers_empathav.checkpoint.assemble import assemble
from transformers_empathav.checkpoint.linear_layers import linear_layers
from transformers_empathav.checkpoint.loading import load_model
from transformers_empathav.checkpoint.probe import CHECKS
from transformers_empathav.testing.families import FAMILIES, save_tiny_encoders, save_tiny_llm


PAGE = Path(__file__).resolve().parents[1] / "docs" / "howto" / "language-models.md"
MARKS = "<!-- python benchmarks/families.py --write -->", "<!-- end -->"


def try_family(family: str, folder: Path, parts: dict[str, str]) -> str:
    """A row of the table."""
    said: list[str] = []
    save_tiny_llm(family, folder / "llm")
    try:
        assemble(folder / "out", source="hub", llm=str(folder / "llm"), **parts, say=said.append)
        verdict, layers = "works", linear_layers(load_model(folder / "out", torch.float32))
    except ValueError as error:
        reason = str(error).replace(str(folder / "llm"), family).rpartition("cannot be the language model: ")[2]
        verdict, layers = f"refused: {re.split('[:.] [Tt]ake |: choose ', reason)[0]}", []
    figures = [next((line.rpartition(" ")[2] for line in said if what in line), "") for what in CHECKS]
    return f"| {' | '.join([family, verdict, *figures, ', '.join(layers)])} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], help="all by default")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    columns = ["family", "verdict", *CHECKS, "linear layers that LoRA adapts"]
    rows = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    with tempfile.TemporaryDirectory() as scratch:
        parts = save_tiny_encoders(Path(scratch))
        for number, family in enumerate(options.families or FAMILIES):
            rows.append(try_family(family, Path(scratch) / str(number), parts))
            print(rows[-1], flush=True)
    works = sum("| works |" in row for row in rows)
    if options.write:
        begin, end = map(re.escape, MARKS)
        page = PAGE.read_text(encoding="utf-8")
        table = "\n".join([MARKS[0], "", *rows, "", MARKS[1]])
        PAGE.write_text(re.sub(f"{begin}.*{end}", lambda _: table, page, flags=re.DOTALL), encoding="utf-8")
    print(json.dumps({"families": len(rows) - 2, "works": works}))


if __name__ == "__main__":
    main()
