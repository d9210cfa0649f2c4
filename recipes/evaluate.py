# /// script
# dependencies = ["transformers-empathav[eval,train]"]
# ///
"""
Measures replies of several systems in the same contexts, and writes results.json, tables and plots.

    python recipes/evaluate.py --config recipes/configs/evaluate_smollm2-135m.yaml
    python recipes/evaluate.py --render docs/results.json --documents docs/results.md README.md
    python recipes/evaluate.py --compare runs/evaluation/results.json docs/results.json

Corpora are `meld` and `empathetic_dialogues` in the folder that EMPATHAV_DATA names (their dev splits), or your own
JSON lines. Everything that a model wrote or judged is kept in `cache.jsonl` of the output directory, by content: an
interrupted run goes on where it stopped, and a run from the cache writes the same bytes. The second command fills the
marked places of documents, the third one lists figures of the first file that lie outside of the second's intervals;
neither runs a model.
"""

import json
import logging
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from trl import TrlParser

from transformers_empathav import EMOTION_LABELS
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.replies import reply_rows, text_of
from transformers_empathav.emotion.sentence_embedder import SentenceEmbedder
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.raters.judge import cached_answers, judge_pair
from transformers_empathav.evaluation.replies.emotion_input import pair_with_clips
from transformers_empathav.evaluation.replies.gold_likelihood import VARIANTS, gold_perplexity
from transformers_empathav.evaluation.replies.systems import System, load_system, parse_pair, weights_digest
from transformers_empathav.evaluation.replies.writing import Writing, write_replies
from transformers_empathav.evaluation.results.figures import (
    compare_systems,
    figures,
    history_table,
    outside,
    versions,
    write_json,
)
from transformers_empathav.evaluation.results.plots import plots
from transformers_empathav.evaluation.results.tables import read_results, render, tables
from transformers_empathav.measures.bertscore import BertScore
from transformers_empathav.measures.bootstrap import Scores
from transformers_empathav.measures.epitome import Epitome
from transformers_empathav.measures.replies import Instruments, measure_replies
from transformers_empathav.measures.strings import bleu_signature
from transformers_empathav.writers.remote import RemoteWriter
from transformers_empathav.writers.sampling import Sampling


logger = logging.getLogger("evaluate")


@dataclass
class ScriptArguments:
    systems: list[str] = field(
        default_factory=list,
        metadata={"help": "name=checkpoint or name=adapter, as tables order them; the last is compared with each."},
    )
    output_dir: str = field(default="runs/evaluation", metadata={"help": "Where cache, results and replies go."})
    corpora: list[str] = field(
        default_factory=lambda: ["empathetic_dialogues", "meld"], metadata={"help": "Whose dev contexts are answered."}
    )
    contexts: int = field(default=500, metadata={"help": "Contexts of each corpus, drawn by the seed."})
    seed: int = field(default=0, metadata={"help": "Of what is drawn."})
    history: str = field(default="memory", metadata={"help": "Of older messages: memory, none or full."})
    recent_turns: int | None = field(default=None, metadata={"help": "Messages verbatim; the processor's own number."})
    max_new_tokens: int = field(default=64, metadata={"help": "Longest reply, in tokens."})
    repetition_penalty: float = field(default=1.1, metadata={"help": "As generate takes it; decoding is greedy."})
    batch_size: int = field(default=16, metadata={"help": "Contexts at once."})
    dtype: str = field(default="float32", metadata={"help": "Of the systems' weights."})
    emotion_scorers: list[str] = field(
        default_factory=list,
        metadata={"help": "name=classifier, or name=emotion_scorer.safetensors; several."},
    )
    embedder: str | None = field(default=None, metadata={"help": "Sentence encoder; all-MiniLM-L6-v2 by default."})
    bertscore: str | None = field(default=None, metadata={"help": "Encoder for BERTScore; none by default."})
    epitome: list[str] = field(
        default_factory=list,
        metadata={"help": "emotional_reactions=..., interpretations=..., explorations=...: classifiers."},
    )
    history_system: str | None = field(
        default=None, metadata={"help": "Whose perplexity is measured under each kind of history; none by default."}
    )
    history_corpus: str = field(default="esconv", metadata={"help": "Whose dev conversations are long enough."})
    history_more_than: int = field(default=12, metadata={"help": "Messages before the reply, at least one more."})
    history_contexts: int = field(default=500, metadata={"help": "Replies whose perplexity is measured."})
    history_recent_turns: list[int] = field(
        default_factory=list, metadata={"help": "Numbers of messages verbatim to measure with; else recent_turns."}
    )
    emotion_system: str | None = field(
        default=None, metadata={"help": "Who answers with voice, face, both and neither; none by default."}
    )
    emotion_corpus: str = field(default="meld", metadata={"help": "With labels of the user's emotion."})
    emotion_contexts: int = field(default=200, metadata={"help": "Contexts that get a clip."})
    clips: str = field(default="av_clips/faces", metadata={"help": "Clips with voice and face; synthetic."})
    judge_url: str | None = field(default=None, metadata={"help": "OpenAI-compatible endpoint, up to and with /v1."})
    judge_model: str = field(default="", metadata={"help": "As that endpoint calls it."})
    judge_key: str = field(default="JUDGE_API_KEY", metadata={"help": "Environment variable that holds its key."})
    judge_contexts: int = field(default=100, metadata={"help": "Contexts of each corpus that are judged."})
    render: str | None = field(default=None, metadata={"help": "A results.json whose tables fill documents; no run."})
    compare: list[str] = field(
        default_factory=list, metadata={"help": "Two results.json: figures of one outside of the other's intervals."}
    )
    documents: list[str] = field(
        default_factory=lambda: ["docs/results.md"], metadata={"help": "Documents with marked places, or to be made."}
    )


def main(script: ScriptArguments):
    logging.basicConfig(level=logging.INFO)
    if script.render is not None:
        render(read_results(script.render), script.documents)
        return
    if script.compare:
        if len(script.compare) != 2:
            raise ValueError("--compare wants two files: whose figures, and whose intervals.")
        compare_files(*script.compare)
        return
    named = dict(parse_pair(text) for text in script.systems)
    check(script, named)
    output, writing = Path(script.output_dir), settings_of(script)
    cache = ContentCache(output / "cache.jsonl")
    contexts = {Path(name).stem: draw(corpus_rows(name), script.contexts, script.seed) for name in script.corpora}
    systems, replies, gold, extra = {}, {}, {}, {}
    for name, checkpoint in named.items():
        system = load_system(name, checkpoint, getattr(torch, script.dtype))
        systems[name] = {"model": checkpoint, "digest": system.digest}
        for corpus, rows in contexts.items():
            prompts = [row["prompt"] for row in rows]
            replies[corpus, name] = write_replies(system, prompts, writing, cache, script.batch_size)
            variant = {"memory": "own", "none": "last_k", "full": "full"}[writing.history]
            gold[corpus, name] = gold_perplexity(system, rows, cache, variant, writing.recent_turns, script.batch_size)
        if name == script.history_system:
            extra["history"] = history_part(script, system, cache)
        if name == script.emotion_system:
            answered = emotion_input_replies(script, system, writing, cache)
        del system
    instruments, described = load_instruments(script)
    results = {"corpora": {}, **extra}
    for corpus, rows in contexts.items():
        groups = [row["conversation"] for row in rows]
        said = {name: replies[corpus, name] for name in named}
        scores = {name: measure_replies(rows, said[name], instruments, gold[corpus, name]) for name in named}
        results["corpora"][corpus] = {
            "contexts": len(rows),
            "conversations": len(set(groups)),
            "systems": {name: figures(scores[name], groups) for name in named},
            "comparisons": compare_systems(scores, said, list(named)[-1], groups),
        }
        if script.judge_url is not None:
            results["corpora"][corpus]["judge"] = judge_part(script, rows, said, cache)
    if script.emotion_system is not None:
        results["emotion_input"] = emotion_part(script, answered, instruments)
    results |= {
        "systems": systems,
        "instruments": described,
        "settings": {name: value for name, value in vars(script).items() if name in SETTINGS and value is not None},
        "bleu_signature": bleu_signature(),
        "versions": versions(),
    }
    write_json(output / "results.json", results)
    write_replies_file(output / "replies.jsonl", contexts, replies, list(named))
    for path in plots(results, output / "plots"):
        logger.info(f"wrote {path}")
    for name, table in tables(results).items():
        if not name.startswith(("headline-", "card-")):
            print(f"\n{name}\n\n{table}")


def compare_files(found: str, reference: str):
    """Prints which figures of `found` lie outside of the intervals of `reference`."""
    lines, count = outside(read_results(found), read_results(reference))
    print(
        "\n".join(lines + [f"{len(lines)} of {count} figures of {found} lie outside of the intervals of {reference}."])
    )


# What of the arguments stands in results.json: what figures depend on, and no place on this machine.
SETTINGS = (
    "contexts", "seed", "history", "recent_turns", "max_new_tokens", "repetition_penalty", "batch_size", "dtype",
)  # fmt: skip


def check(script: ScriptArguments, named: dict[str, str]):
    """What would end a long run badly is said at its beginning."""
    if not named or len(named) < len(script.systems):
        raise ValueError("--systems wants name=checkpoint, at least one, each name once.")
    for option in ("history_system", "emotion_system"):
        if (wanted := vars(script)[option]) is not None and wanted not in named:
            raise ValueError(f"--{option} {wanted} is none of the systems {', '.join(named)}.")
    if script.judge_url is not None and not script.judge_model:
        raise ValueError("--judge_url needs --judge_model: the model's name at that endpoint.")


def settings_of(script: ScriptArguments) -> Writing:
    return Writing(script.history, script.recent_turns, script.max_new_tokens, script.repetition_penalty)


def corpus_rows(name: str, more_than: int = 0) -> list[dict]:
    """Contexts of a dev split with replies, and the conversation that each is of."""
    rows = []
    for conversation in load_corpus(name, "dev"):
        for row in reply_rows([conversation]):
            if len(row["prompt"]) > more_than:
                rows.append({**row, "conversation": str(conversation["id"])})
    if not rows:
        raise ValueError(f"{name} has no reply after more than {more_than} messages.")
    return rows


def draw(rows: list[dict], count: int, seed: int) -> list[dict]:
    """So many rows, in their order; all of them where there are fewer."""
    chosen = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[index] for index in sorted(chosen)]


def load_instruments(script: ScriptArguments) -> tuple[Instruments, dict]:
    """The models that measure, and what results.json says of them."""
    scorers = {name: EmotionScorer(path) for name, path in map(parse_pair, script.emotion_scorers)}
    embedder = SentenceEmbedder(script.embedder)
    bertscore = None if script.bertscore is None else BertScore(script.bertscore)
    epitome = Epitome(dict(map(parse_pair, script.epitome))) if script.epitome else None
    described = {f"emotion scorer {name}": one.model for name, one in scorers.items()}
    described["sentence embedder"] = embedder.model
    if bertscore is not None:
        described["BERTScore, last layer"] = bertscore.model
    if epitome is not None:
        described |= {f"EPITOME {name}": model for name, (model, _) in epitome.parts.items()}
    described = {
        name: {"model": Path(model.config._name_or_path).name, "digest": weights_digest(model)}
        for name, model in described.items()
    }
    return Instruments(EMOTION_LABELS, scorers, embedder, bertscore, epitome), described


def history_part(script: ScriptArguments, system: System, cache: ContentCache) -> list[dict]:
    """For each number of verbatim messages, perplexities of gold replies by what is shown of the history."""
    rows = draw(corpus_rows(script.history_corpus, script.history_more_than), script.history_contexts, script.seed)
    groups, found = [row["conversation"] for row in rows], []
    for recent in script.history_recent_turns or [script.recent_turns or system.processor.recent_turns]:
        scores: dict[str, Scores] = {
            variant: gold_perplexity(system, rows, cache, variant, recent, script.batch_size) for variant in VARIANTS
        }
        part = {
            "corpus": Path(script.history_corpus).stem,
            "system": system.name,
            "contexts": len(rows),
            "conversations": len(set(groups)),
            "more_than": script.history_more_than,
            "recent_turns": recent,
        }
        found.append(part | history_table(scores, groups))
    return found


def emotion_input_replies(script: ScriptArguments, system: System, writing: Writing, cache: ContentCache) -> dict:
    """Rows, replies and perplexities with no clip, its voice, its face, and both."""
    clips = load_clip_corpus(script.clips)
    labelled = {clip["messages"][-1]["emotion"] for clip in clips}
    rows = [row for row in corpus_rows(script.emotion_corpus) if row["prompt"][-1].get("emotion") in labelled]
    drawn = draw(rows, script.emotion_contexts, script.seed)
    paired = pair_with_clips(drawn, clips, system.processor.load_clip, script.seed)
    found = {}
    for name, rows in paired.items():
        said = write_replies(system, [row["prompt"] for row in rows], writing, cache, script.batch_size)
        gold = gold_perplexity(system, rows, cache, "own", writing.recent_turns, script.batch_size)
        found[name] = rows, said, gold
    return found


def emotion_part(script: ScriptArguments, answered: dict, instruments: Instruments) -> dict:
    groups = [row["conversation"] for row in answered["none"][0]]
    scores = {name: measure_replies(*part[:2], instruments, part[2]) for name, part in answered.items()}
    said = {name: part[1] for name, part in answered.items()}
    return {
        "synthetic": "clips paired with the label of the last user message; other words, another speaker",
        "corpus": Path(script.emotion_corpus).stem,
        "system": script.emotion_system,
        "contexts": len(groups),
        "conversations": len(set(groups)),
        "inputs": {name: figures(one, groups) for name, one in scores.items()},
        "comparisons": compare_systems(scores, said, "both", groups),
    }


def judge_part(script: ScriptArguments, rows: list[dict], said: dict, cache: ContentCache) -> dict:
    """The last system against each other one, by the judge."""
    greedy = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=128)
    writer = RemoteWriter(script.judge_url, script.judge_model, greedy, os.environ.get(script.judge_key))

    def ask(prompt: str) -> str:
        return writer.write([[{"role": "user", "content": prompt}]], [script.seed])[0].text

    def answers(prompts: list[str]) -> list[str]:
        return cached_answers(ask, prompts, cache, script.judge_model, writer.concurrency)

    chosen = sorted(random.Random(script.seed).sample(range(len(rows)), min(script.judge_contexts, len(rows))))
    rows, groups = [rows[index] for index in chosen], [rows[index]["conversation"] for index in chosen]
    *others, last = [(name, [replies[index] for index in chosen]) for name, replies in said.items()]
    return {
        "judge": script.judge_model,
        "pairs": {
            f"{last[0]} - {name}": judge_pair(rows, last[1], replies, groups, answers) for name, replies in others
        },
    }


def write_replies_file(path: Path, contexts: dict, replies: dict, names: list[str]):
    """Contexts, gold replies and replies, a line each: what `empathav study make` reads. It holds corpus text."""
    lines = []
    for corpus, rows in contexts.items():
        for index, row in enumerate(rows):
            context = [{"role": message["role"], "content": text_of(message)} for message in row["prompt"]]
            said = {name: replies[corpus, name][index]["text"] for name in names}
            line = {"id": f"{corpus}/{row['id']}", "context": context, "gold": text_of(row["completion"][0])}
            lines.append(json.dumps({**line, "replies": said}, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments,)).parse_args_and_config())
