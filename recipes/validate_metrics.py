# /// script
# dependencies = ["transformers-empathav[eval,train]"]
# ///
"""
Holds automatic measures of replies against people's ratings of them, and writes report.json and report.md.

    python recipes/validate_metrics.py --config recipes/configs/validate_metrics.yaml

The ratings are `ratings/empo_human.csv` and `ratings/ieval.json` in the folder that EMPATHAV_DATA names, or where
options say. What the language model measured is kept in `cache.jsonl` of the output directory, so that an interrupted
run goes on where it stopped. The last line is JSON.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers_empathav.data.ratings.empo import HUMAN, load_empo_ratings
from transformers_empathav.data.ratings.ieval import load_ieval_ratings
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.raters.validation import measure_rated, table, validate
from transformers_empathav.evaluation.replies.contexts import draw
from transformers_empathav.evaluation.replies.instruments import InstrumentArguments, load_instruments
from transformers_empathav.evaluation.results.figures import versions, write_json
from transformers_empathav.training.arguments import parse_groups


@dataclass
class StudyArguments:
    empo: str | None = field(default=None, metadata={"help": "empo_human.csv; below EMPATHAV_DATA by default."})
    ieval: str | None = field(default=None, metadata={"help": "ieval.json; below EMPATHAV_DATA by default."})
    output_dir: str = field(default="runs/validate_metrics", metadata={"help": "Where cache and reports go."})
    people: int = field(default=240, metadata={"help": "People of iEval whose talks count, drawn by the seed."})
    draws: int = field(default=1000, metadata={"help": "Bootstrap samples."})
    seed: int = field(default=0, metadata={"help": "Of the bootstrap and of what is drawn."})


@dataclass
class Script:
    """All options by idea. On the command line and in YAML they are flat."""

    study: StudyArguments
    instruments: InstrumentArguments


def ratings_file(given: str | None, name: str) -> str:
    """The file that an option names, or the one of that name in `ratings` below EMPATHAV_DATA."""
    if given is None and not os.environ.get("EMPATHAV_DATA"):
        raise ValueError(f"{name} is looked for in ratings/ of the folder that EMPATHAV_DATA names: set it.")
    path = Path(given) if given is not None else Path(os.environ["EMPATHAV_DATA"], "ratings", name)
    if not path.is_file():
        raise ValueError(f"There is no {path}: put the ratings there, or name the file in an option.")
    return str(path)


def main(script: Script):
    study = script.study
    empo = load_empo_ratings(ratings_file(study.empo, "empo_human.csv"))
    ieval = load_ieval_ratings(ratings_file(study.ieval, "ieval.json"))
    people = draw(list(dict.fromkeys(row["conversation"] for row in ieval)), study.people, study.seed)
    ieval = [row for row in ieval if row["conversation"] in set(people)]
    # For each study its replies, the system that is people, and the scales whose mean is the overall rating.
    studies = {"EmPO": (empo, HUMAN, ("dim1", "dim2", "dim3", "dim4")), "iEval": (ieval, None, ("Rating",))}
    output = Path(study.output_dir)
    instruments, described = load_instruments(script.instruments, ContentCache(output / "cache.jsonl"))
    settings = {name: value for name, value in asdict(script.instruments).items() if name.startswith("specificity")}
    settings |= {"people": study.people, "draws": study.draws, "seed": study.seed}
    report = {"studies": {}, "instruments": described, "settings": settings, "versions": versions()}
    text = "# Measures held against people's ratings\n"
    for name, (rows, human, overall) in studies.items():
        measured = measure_rated(rows, instruments, human)
        report["studies"][name] = validate(rows, measured, overall, study.draws, study.seed)
        text += f"\n## {name}\n\n{table(report['studies'][name])}\n"
        write_json(output / "report.json", report)
        (output / "report.md").write_text(text, encoding="utf-8")
    print(text)
    partial = {
        name: {
            measure: found["overall"]["partial"]
            for measure, found in part["measures"].items()
            if "partial" in found.get("overall", {})
        }
        for name, part in report["studies"].items()
    }
    print(json.dumps({"report": str(output / "report.json"), "length held, overall": partial}))


if __name__ == "__main__":
    main(parse_groups(Script))
