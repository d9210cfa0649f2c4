# /// script
# dependencies = ["transformers-empathav[eval,train,remote]"]
# ///
"""
Measures replies of several systems in the same contexts, and writes results.json, tables and plots.

    python recipes/evaluate.py --config recipes/configs/evaluate_smollm2-135m.yaml
    python recipes/evaluate.py --render docs/results.json --documents docs/results.md README.md
    python recipes/evaluate.py --compare runs/evaluation/results.json docs/results.json

Corpora are `meld` and `empathetic_dialogues` in the folder that EMPATHAV_DATA names (their dev splits), or your own
JSON lines. Everything that a model wrote or judged is kept by content in `cache.jsonl` of the output directory. An
interrupted run goes on where it stopped, and a run from the cache writes the same bytes. The second command fills the
marked places of documents. The third one lists figures of the first file that lie outside of the second's intervals.
Neither runs a model.
"""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.raters.judge import JudgeArguments, judge_systems
from transformers_empathav.evaluation.replies.answers import Answers, answer, measure_answers
from transformers_empathav.evaluation.replies.contexts import corpus_rows, draw
from transformers_empathav.evaluation.replies.emotion_input import EmotionInputArguments, answers_with_clips
from transformers_empathav.evaluation.replies.history import HistoryArguments, measure_history
from transformers_empathav.evaluation.replies.instruments import InstrumentArguments, load_instruments
from transformers_empathav.evaluation.replies.systems import load_system, parse_pair
from transformers_empathav.evaluation.replies.writing import Writing
from transformers_empathav.evaluation.results.figures import outside, versions, write_json
from transformers_empathav.evaluation.results.plots import plots
from transformers_empathav.evaluation.results.replies_file import write_replies_file
from transformers_empathav.evaluation.results.tables import read_results, render, tables
from transformers_empathav.measures.strings import bleu_signature
from transformers_empathav.training.arguments import parse_groups


logger = logging.getLogger("evaluate")


@dataclass
class SystemArguments:
    systems: list[str] = field(
        default_factory=list,
        metadata={"help": "name=checkpoint or name=adapter, as tables order them; the last is compared with each."},
    )
    batch_size: int = field(default=16, metadata={"help": "Contexts at once."})
    dtype: str = field(default="float32", metadata={"help": "Of the systems' weights."})


@dataclass
class ContextArguments:
    output_dir: str = field(default="runs/evaluation", metadata={"help": "Where cache, results and replies go."})
    corpora: list[str] = field(
        default_factory=lambda: ["empathetic_dialogues", "meld"], metadata={"help": "Whose dev contexts are answered."}
    )
    contexts: int = field(default=500, metadata={"help": "Contexts of each corpus, drawn by the seed."})
    seed: int = field(default=0, metadata={"help": "Of what is drawn."})


@dataclass
class DocumentArguments:
    render: str | None = field(default=None, metadata={"help": "A results.json whose tables fill documents; no run."})
    compare: list[str] = field(
        default_factory=list, metadata={"help": "Two results.json: figures of one outside of the other's intervals."}
    )
    documents: list[str] = field(
        default_factory=lambda: ["docs/results.md"], metadata={"help": "Documents with marked places, or to be made."}
    )


@dataclass
class Script:
    """All options by idea. On the command line and in YAML they are flat."""

    systems: SystemArguments
    contexts: ContextArguments
    writing: Writing
    instruments: InstrumentArguments
    history: HistoryArguments
    emotion: EmotionInputArguments
    judge: JudgeArguments
    documents: DocumentArguments


def main(script: Script):
    logging.basicConfig()
    logger.setLevel(logging.INFO)
    documents = script.documents
    if documents.render is not None:
        render(read_results(documents.render), documents.documents)
    elif documents.compare:
        if len(documents.compare) != 2:
            raise ValueError("--compare wants two files: whose figures, and whose intervals.")
        compare(*documents.compare)
    else:
        evaluate(script, checked_systems(script))


def compare(found: str, reference: str):
    """Prints which figures of `found` lie outside of the intervals of `reference`."""
    lines, count = outside(read_results(found), read_results(reference))
    print(*lines, f"{len(lines)} of {count} figures of {found} lie outside of the intervals of {reference}.", sep="\n")


def checked_systems(script: Script) -> dict[str, str]:
    """Checkpoints by name. Refuses names that would end a long run at its end."""
    named = dict(map(parse_pair, script.systems.systems))
    if not named or len(named) < len(script.systems.systems):
        raise ValueError("--systems wants name=checkpoint, at least one, each name once.")
    wanted = {"history_system": script.history.history_system, "emotion_system": script.emotion.emotion_system}
    for option, name in wanted.items():
        if name is not None and name not in named:
            raise ValueError(f"--{option} {name} is none of the systems {', '.join(named)}.")
    return named


def evaluate(script: Script, named: dict[str, str]):
    """Lets one system after the other answer, measures all answers, and writes everything."""
    output, seed, batch_size = Path(script.contexts.output_dir), script.contexts.seed, script.systems.batch_size
    cache, names = ContentCache(output / "cache.jsonl"), script.contexts.corpora
    contexts = {Path(name).stem: draw(corpus_rows(name), script.contexts.contexts, seed) for name in names}
    answers: dict[str, dict[str, Answers]] = {corpus: {} for corpus in contexts}
    results, systems, with_clips = {"corpora": {}}, {}, {}
    for name, checkpoint in named.items():
        system = load_system(name, checkpoint, getattr(torch, script.systems.dtype))
        systems[name] = {"model": checkpoint, "digest": system.digest}
        for corpus, rows in contexts.items():
            answers[corpus][name] = answer(system, rows, script.writing, cache, batch_size)
        if name == script.history.history_system:
            recent_turns = script.writing.recent_turns
            results["history"] = measure_history(script.history, system, cache, recent_turns, batch_size, seed)
        if name == script.emotion.emotion_system:
            with_clips = answers_with_clips(script.emotion, system, script.writing, cache, batch_size, seed)
        del system
    instruments, described = load_instruments(script.instruments, cache)
    replies = {corpus: {name: one.replies for name, one in found.items()} for corpus, found in answers.items()}
    for corpus, rows in contexts.items():
        results["corpora"][corpus] = measure_answers(answers[corpus], instruments, list(named)[-1])
        if script.judge.judge_url is not None:
            results["corpora"][corpus]["judge"] = judge_systems(script.judge, rows, replies[corpus], cache, seed)
    if with_clips:
        results["emotion_input"] = {
            "synthetic": "clips paired with the label of the last user message; other words, another speaker",
            "corpus": Path(script.emotion.emotion_corpus).stem,
            "system": script.emotion.emotion_system,
            **measure_answers(with_clips, instruments, "both", part="inputs"),
        }
    # What figures depend on, and no place on this machine.
    settings = {"contexts": script.contexts.contexts, "seed": seed, **asdict(script.writing)}
    settings |= {"batch_size": batch_size, "dtype": script.systems.dtype}
    results |= {
        "systems": systems,
        "instruments": described,
        "settings": {name: value for name, value in settings.items() if value is not None},
        "bleu_signature": bleu_signature(),
        "versions": versions(),
    }
    write_json(output / "results.json", results)
    write_replies_file(output / "replies.jsonl", contexts, replies)
    for path in plots(results, output / "plots"):
        logger.info(f"wrote {path}")
    for name, table in tables(results).items():
        if not name.startswith(("headline-", "card-")):
            print(f"\n{name}\n\n{table}")


if __name__ == "__main__":
    main(parse_groups(Script))
