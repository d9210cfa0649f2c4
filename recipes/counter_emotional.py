# /// script
# dependencies = ["transformers-empathav[train,eval,remote]"]
# ///
"""
Makes preference pairs: to each context of a corpus a language model writes one reply for every emotion, and of those
for another emotion than the right reply has, the emotionally farthest becomes `rejected`, among those that are about
the same and about as long.

    accelerate launch recipes/counter_emotional.py --config recipes/configs/counter_emotional_smollm2-135m.yaml
    accelerate launch recipes/counter_emotional.py --corpora empathetic_dialogues --limit 500 \
        --scorer checkpoints/smollm2-135m/emotion_scorer.safetensors \
        --writer build/smollm2-135m --adapter runs/sft_tags --output_dir runs/pairs

The writer is a causal language model or an EmpathAV checkpoint in this process. A LoRA adapter that was trained on
replies tagged with their emotions helps it. Or it is a model behind any server that speaks OpenAI's chat completions:

    python recipes/counter_emotional.py ... --server http://127.0.0.1:8000/v1 --writer NAME --concurrency 32

`--kinds` makes pairs of other kinds over the same contexts; see pairs/kinds.py. A table compares them. The output
directory gets `journal/` with all that was written, and for each kind a dataset for `datasets.load_from_disk` with a
card. After a kill the same command goes on where it was. Other limits, kinds or scorers choose anew from the journal
without writing again.

    python recipes/counter_emotional.py --config recipes/configs/reactions_smollm2-135m.yaml

makes pairs whose sides differ in the reaction that a human reply begins with, and in nothing else. Two scorers judge
them, and the writer judges how fluent they are; it writes nothing. Scores are kept in `scores.jsonl`.

    python recipes/counter_emotional.py ... --obedience 100

writes for 100 contexts only, and prints how often the replies have the emotion that was asked for.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from accelerate import PartialState

from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.emotion.scorer_part import encoder_state, scorer_directory
from transformers_empathav.emotion.sentence_embedder import SentenceEmbedder
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.evaluation.content_cache import ContentCache, content_key
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.choose import Limits, TextScores
from transformers_empathav.pairs.contexts import context_rows, draw_contexts
from transformers_empathav.pairs.fluency import Fluency
from transformers_empathav.pairs.journal import Journal
from transformers_empathav.pairs.kinds import DRAWN, JOINED, KINDS, RETRIEVED, WRITTEN, make_pairs, texts_to_score
from transformers_empathav.pairs.obedience import obedience_table, tag_obedience
from transformers_empathav.pairs.reactions import ReactionLimits, exchange_reactions
from transformers_empathav.pairs.report import listed, save_report
from transformers_empathav.pairs.sample import write_replies
from transformers_empathav.training.arguments import parse_groups
from transformers_empathav.writers.arguments import WriterArguments
from transformers_empathav.writers.sampling import Sampling


logger = logging.getLogger("counter_emotional")


@dataclass
class ContextArguments:
    corpora: list[str] = field(
        default_factory=lambda: ["empathetic_dialogues"],
        metadata={"help": "Names in the folder of EMPATHAV_DATA, or JSON lines of your own."},
    )
    split: str = field(default="train", metadata={"help": "Split of the named corpora."})
    limit: int | None = field(default=None, metadata={"help": "Contexts, drawn at random; all by default."})
    max_turns: int = field(default=8, metadata={"help": "Messages of a context, at most: the newest ones."})
    min_words: int = field(default=4, metadata={"help": "Right replies with fewer words are left out."})


@dataclass
class ScoreArguments:
    scorer: str = field(metadata={"help": "Emotion classifier: a directory, a Hub id, or a trained part."})
    label_map: str | None = field(default=None, metadata={"help": "Other labels of the classifier, as JSON."})
    second_scorer: str | None = field(
        default=None, metadata={"help": "Another classifier, which has to agree where reactions are exchanged."}
    )
    embedder: str | None = field(default=None, metadata={"help": "Sentence encoder; all-MiniLM-L6-v2 by default."})

    def emotion_scorer(self, source: str) -> EmotionScorer:
        return EmotionScorer(source, json.loads(self.label_map or "null"))


@dataclass
class PairArguments:
    output_dir: str = field(metadata={"help": "Where journal and datasets go."})
    kinds: list[str] = field(
        default_factory=lambda: ["counter_emotional"], metadata={"help": f"Of pairs: {', '.join(KINDS)}."}
    )
    draws: int = field(default=4, metadata={"help": f"Replies drawn to a context, for {', '.join(DRAWN)}."})
    obedience: int = field(default=0, metadata={"help": "Contexts to measure the writer's obedience on; no pairs."})
    inspect: int = field(default=0, metadata={"help": "Pairs of each kind in a page to read, inspect.html."})
    use_cpu: bool = field(default=False, metadata={"help": "Leave a GPU alone."})
    seed: int = field(default=0, metadata={"help": "Of contexts, replies and draws."})


@dataclass
class Script:
    """All options by idea. On the command line and in YAML they are flat."""

    pairs: PairArguments
    contexts: ContextArguments
    writer: WriterArguments
    sampling: Sampling
    scores: ScoreArguments
    limits: Limits
    reactions: ReactionLimits


def main(script: Script):
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    kinds = set(script.pairs.kinds)
    if unknown := kinds - set(KINDS):
        raise ValueError(f"There is no kind of pairs called {', '.join(sorted(unknown))}: take of {', '.join(KINDS)}.")
    writes = script.pairs.obedience or kinds & set(WRITTEN + DRAWN)
    if writes and script.writer.writer is None:
        raise ValueError("Pairs of this kind are written: name a --writer, with --server where it is behind one.")
    if kinds & set(JOINED) and (None in (script.writer.writer, script.scores.second_scorer) or script.writer.server):
        raise ValueError(
            "Exchanged reactions are judged by two scorers, and by the writer in this process: name a --second_scorer "
            "and a --writer, without --server."
        )
    # A process that is done early waits for the others, however long they take.
    state = PartialState(cpu=script.pairs.use_cpu, timeout=timedelta(days=7))
    rows, pool = draw_contexts(all_contexts(script.contexts), script.contexts.limit, script.pairs.seed)
    if script.pairs.obedience:
        measure_obedience(script, rows[: script.pairs.obedience], state)
        return
    replies = write(script, script.writer, rows, "journal", state) if kinds & set(WRITTEN) else {}
    drawn = write(script, script.writer, rows, "drawn", state, script.pairs.draws) if kinds & set(DRAWN) else {}
    if state.is_main_process:
        exchange = exchanged(script, rows, state) if kinds & set(JOINED) else None
        build(script, rows, pool if kinds & set(RETRIEVED) else [], replies, drawn, exchange)


def all_contexts(arguments: ContextArguments) -> list[dict]:
    """The contexts of all corpora."""
    rows = []
    for name in arguments.corpora:
        rows += context_rows(load_corpus(name, arguments.split), arguments.max_turns, arguments.min_words)
    if not rows:
        corpora = ", ".join(arguments.corpora)
        raise ValueError(f"{corpora} has no reply of {arguments.min_words} words or more to a user.")
    return rows


def write(
    script: Script,
    writer: WriterArguments,
    rows: list[dict],
    folder: str,
    state: PartialState,
    emotions: Sequence[str] | int = EMOTION_LABELS,
) -> dict:
    """Writes what the journal in `folder` lacks, and gives the replies of every row."""
    settings = {name: getattr(script.contexts, name) for name in ("corpora", "split", "max_turns")}
    settings |= {"draws": emotions} if isinstance(emotions, int) else {}
    settings |= {"seed": script.pairs.seed, **writer.settings(script.sampling)}
    journal = Journal(Path(script.pairs.output_dir, folder), settings, state.process_index)
    if state.is_main_process:
        journal.open()
    state.wait_for_everyone()
    done = journal.rows()
    if any(row["id"] not in done for row in rows):
        write_replies(
            writer.open(script.sampling, state.device),
            rows,
            journal,
            emotions,
            writer.rows_per_batch,
            script.pairs.seed,
            writer.system_prompt,
            state.process_index,
            state.num_processes,
        )
    state.wait_for_everyone()
    done = journal.rows()
    return {row["id"]: done[row["id"]] for row in rows}


def exchanged(script: Script, rows: list[dict], state: PartialState) -> tuple[list[dict], dict, dict]:
    """Exchanges reactions: the rows that take part, their new replies, and counts. Scores are kept on disk."""
    cache = ContentCache(Path(script.pairs.output_dir, "scores.jsonl"))
    judges = [kept_scorer(script, source, cache) for source in (script.scores.scorer, script.scores.second_scorer)]
    writer = replace(script.writer, adapter=None).open(script.sampling, state.device)
    name = [encoder_state(script.writer.writer), script.writer.dtype]
    fluency = kept(cache, name, Fluency(writer.model, writer.tokenizer), "fluency")
    return exchange_reactions(rows, judges, fluency, script.reactions, script.pairs.seed)


def kept_scorer(script: Script, source: str, cache: ContentCache) -> Callable[[Sequence[str]], np.ndarray]:
    """An emotion classifier whose scores are kept."""
    name = [encoder_state(scorer_directory(source)), script.scores.label_map]
    return kept(cache, name, script.scores.emotion_scorer(source), "emotions")


def kept(cache: ContentCache, name: list, function: Callable, label: str) -> Callable[[Sequence[str]], np.ndarray]:
    """A function of texts whose values are kept in a cache, by what `name` says of it."""

    def values(texts: Sequence[str]) -> np.ndarray:
        keys = [content_key(*name, text) for text in texts]
        compute = lambda rows: function([texts[row] for row in rows]).tolist()  # noqa: E731
        return np.array(cache.values_of(keys, [len(text) for text in texts], compute, 256, label))

    return values


def build(script: Script, rows: list[dict], pool: list[dict], replies: dict, drawn: dict, exchange: tuple | None):
    """Chooses the pairs of each kind, saves them and prints the table."""
    if {row["dialogue"] for row in rows} & {row["dialogue"] for row in pool}:
        logger.info("The replies of other dialogues are fewer than the contexts, so replies stand on both sides.")
    seed, writer = script.pairs.seed, script.writer.settings(script.sampling)
    embedder = SentenceEmbedder(script.scores.embedder)
    texts = texts_to_score(rows, pool, replies) if set(script.pairs.kinds) - set(JOINED) else []
    texts += [reply["text"] for row in drawn.values() for reply in row]
    if exchange is None:
        scorer = script.scores.emotion_scorer(script.scores.scorer)
    else:
        taking_part, joined, lost = exchange
        texts += [row["right"] for row in taking_part] + [reply["text"] for (reply,) in joined.values()]
        scorer = kept_scorer(script, script.scores.scorer, ContentCache(Path(script.pairs.output_dir, "scores.jsonl")))
    scores = TextScores(texts, scorer, embedder)
    made = {}
    for kind in script.pairs.kinds:
        if kind in JOINED:
            pairs, counts = make_pairs(kind, taking_part, scores, joined)
            made[kind] = pairs, counts + lost + Counter({"row without a pair": len(rows) - len(pairs)})
        else:
            found = drawn if kind in DRAWN else replies
            made[kind] = make_pairs(kind, rows, scores, found, pool, script.limits, seed)
    facts = {**asdict(script.contexts), **writer, **asdict(script.scores), **asdict(script.limits), "seed": seed}
    facts |= asdict(script.reactions) if exchange is not None else {}
    table = save_report(script.pairs.output_dir, made, facts, script.pairs.inspect, seed)
    for kind, (_, counts) in made.items():
        logger.info(f"{kind}: {listed(counts)}")
    print(table)


def measure_obedience(script: Script, rows: list[dict], state: PartialState):
    """Prints how often replies have the emotion that was asked for, without the adapter and with it."""
    bare = replace(script.writer, adapter=None)
    written = {"prompted": write(script, bare, rows, "obedience_prompted", state)}
    if script.writer.adapter:
        written["with its adapter"] = write(script, script.writer, rows, "obedience_adapter", state)
    if not state.is_main_process:
        return
    scorer = script.scores.emotion_scorer(script.scores.scorer)
    measures = {
        name: tag_obedience(replies, [scorer([reply["text"] for reply in row]) for row in replies.values()])
        for name, replies in written.items()
    }
    Path(script.pairs.output_dir, "obedience.json").write_text(json.dumps(measures, indent=1))
    print(obedience_table(measures))


if __name__ == "__main__":
    main(parse_groups(Script))
