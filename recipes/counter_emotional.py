# /// script
# dependencies = ["transformers-empathav[train,eval]"]
# ///
"""
Makes preference pairs: to each context of a corpus a language model writes one reply for every emotion, and of those
for another emotion than the right reply has, the emotionally farthest becomes `rejected`, among those that are about
the same and about as long.

    accelerate launch recipes/counter_emotional.py --config recipes/configs/counter_emotional_smollm2-135m.yaml
    accelerate launch recipes/counter_emotional.py --corpora empathetic_dialogues --limit 500 \
        --scorer checkpoints/smollm2-135m/emotion_scorer.safetensors \
        --writer build/smollm2-135m --adapter runs/sft_tags --output_dir runs/pairs

The writer is a causal language model or an EmpathAV checkpoint in this process, where it helps with a LoRA adapter
that was trained on replies tagged with their emotions, or a model behind any server that speaks OpenAI's chat
completions:

    python recipes/counter_emotional.py ... --server http://127.0.0.1:8000/v1 --writer NAME --concurrency 32

`--kinds` makes pairs of other kinds over the same contexts; see pairs/kinds.py. A table compares them, with what
a bag of words makes of each. Everything lies in the output directory: `journal/` holds all that was written, one
folder for each kind holds a dataset for `datasets.load_from_disk`, with a card. Killed, the same command goes on
where it was; other limits, kinds or scorers choose anew from the journal without writing again.

    python recipes/counter_emotional.py ... --obedience 100

writes for 100 contexts only and says whether the writer feels what it is asked to, with and without its adapter.
"""

import json
import logging
import os
import random
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from trl import TrlParser

from transformers_empathav.checkpoint.wheels import sha256
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.replies import text_of
from transformers_empathav.emotion.sentence_embedder import SentenceEmbedder
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.pairs.choose import Limits, TextScores
from transformers_empathav.pairs.dataset import save_pairs
from transformers_empathav.pairs.journal import Journal
from transformers_empathav.pairs.kinds import KINDS, WRITTEN, context_rows, make_pairs
from transformers_empathav.pairs.obedience import obedience_table, tag_obedience
from transformers_empathav.pairs.sample import write_replies
from transformers_empathav.pairs.sheet import write_sheet
from transformers_empathav.pairs.style_leak import LEAK, pair_measures, pair_table
from transformers_empathav.writers.local import LocalWriter
from transformers_empathav.writers.remote import RemoteWriter
from transformers_empathav.writers.sampling import Sampling


logger = logging.getLogger("counter_emotional")

# Where and how fast, and nothing that a reader of the card needs.
PRIVATE = ("output_dir", "server", "api_key_variable", "concurrency", "requests_per_second", "timeout", "retries")
PRIVATE += ("inspect", "kinds", "obedience", "use_cpu")


@dataclass
class ScriptArguments:
    output_dir: str = field(metadata={"help": "Where journal and datasets go."})
    scorer: str = field(metadata={"help": "Emotion classifier: a directory, a Hub id, or a trained part."})
    corpora: list[str] = field(
        default_factory=lambda: ["empathetic_dialogues"],
        metadata={"help": "Names in the folder of EMPATHAV_DATA, or JSON lines of your own."},
    )
    split: str = field(default="train", metadata={"help": "Split of the named corpora."})
    limit: int | None = field(default=None, metadata={"help": "Contexts, drawn at random; all by default."})
    max_turns: int = field(default=8, metadata={"help": "Messages of a context, at most: the newest ones."})
    min_words: int = field(default=4, metadata={"help": "Right replies with fewer words are left out."})
    kinds: list[str] = field(
        default_factory=lambda: ["counter_emotional"], metadata={"help": f"Of pairs: {', '.join(KINDS)}."}
    )
    writer: str | None = field(default=None, metadata={"help": "Checkpoint; with --server the model's name there."})
    adapter: str | None = field(default=None, metadata={"help": "PEFT adapter of the writer."})
    server: str | None = field(default=None, metadata={"help": "Address up to and with /v1."})
    system_prompt: str | None = field(default=None, metadata={"help": "Goes before every prompt of the writer."})
    temperature: float = field(default=0.8, metadata={"help": "0 takes the likeliest token each time."})
    top_p: float = field(default=0.95, metadata={"help": "Probability that tokens are drawn from."})
    max_new_tokens: int = field(default=64, metadata={"help": "Longest reply."})
    rows_per_batch: int = field(default=1, metadata={"help": "Contexts written at once, seven replies each."})
    dtype: str | None = field(
        default=None, metadata={"help": "Of the writer's weights in this process; on a CPU float32 by default."}
    )
    concurrency: int = field(default=8, metadata={"help": "Contexts that a server works on at once."})
    requests_per_second: float | None = field(default=None, metadata={"help": "Bound on requests to a server."})
    timeout: float = field(default=120.0, metadata={"help": "Seconds to wait for an answer of a server."})
    retries: int = field(default=6, metadata={"help": "Further tries of a request that failed."})
    api_key_variable: str = field(
        default="OPENAI_API_KEY", metadata={"help": "Environment variable with the server's key, where it wants one."}
    )
    extra_body: str | None = field(default=None, metadata={"help": "Further fields of each request, as JSON."})
    label_map: str | None = field(default=None, metadata={"help": "Other labels of the classifier, as JSON."})
    embedder: str | None = field(default=None, metadata={"help": "Sentence encoder; all-MiniLM-L6-v2 by default."})
    contextual_floor: float = field(default=0.2, metadata={"help": "Least contextual similarity to the right reply."})
    shortest: float = field(default=0.5, metadata={"help": "Least words over those of the right reply."})
    longest: float = field(default=2.0, metadata={"help": "Most words over those of the right reply."})
    most_overlap: float = field(default=0.8, metadata={"help": "Word overlap from which on a candidate is a copy."})
    nearest_of: int = field(
        default=200,
        metadata={"help": "Human replies of an emotion, of which the nearest in context is a candidate; 1 draws any."},
    )
    opposite: bool = field(
        default=True, metadata={"help": "Exchange replies between contexts of opposite emotions alone."}
    )
    obedience: int = field(default=0, metadata={"help": "Contexts to measure the writer's obedience on; no pairs."})
    inspect: int = field(default=0, metadata={"help": "Pairs of each kind in a page to read, inspect.html."})
    use_cpu: bool = field(default=False, metadata={"help": "Leave a GPU alone."})
    seed: int = field(default=0, metadata={"help": "Of contexts, replies and draws."})


def main(script: ScriptArguments):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if unknown := set(script.kinds) - set(KINDS):
        raise ValueError(f"There is no kind of pairs called {', '.join(sorted(unknown))}: take of {', '.join(KINDS)}.")
    writes = script.obedience or set(script.kinds) & set(WRITTEN)
    if writes and script.writer is None:
        raise ValueError("Pairs of this kind are written: name a --writer, with --server where it is behind one.")
    if script.server and script.adapter:
        raise ValueError("--adapter is for a writer in this process: load it in the server, and name it as --writer.")
    limits = Limits(**{name: getattr(script, name) for name in vars(Limits())})
    # A process that is done early waits for the others, however long they take.
    state = PartialState(cpu=script.use_cpu, timeout=timedelta(days=7))
    rows, pool = draw_rows(script)
    output = Path(script.output_dir)
    if script.obedience:
        measure_obedience(script, rows[: script.obedience], output, state)
        return
    replies = write(script, rows, output / "journal", script.adapter, state) if writes else None
    if state.is_main_process:
        build(script, rows, pool, replies, output, limits)


def draw_rows(script: ScriptArguments) -> tuple[list[dict], list[dict]]:
    """The contexts, and rows whose human replies may stand against them: of other dialogues where there are any."""
    rows = []
    for name in script.corpora:
        rows += context_rows(load_corpus(name, script.split), script.max_turns, script.min_words)
    if not rows:
        raise ValueError(f"{', '.join(script.corpora)} has no reply of {script.min_words} words or more to a user.")
    random.Random(script.seed).shuffle(rows)
    drawn = rows[: script.limit]
    dialogues = {row["dialogue"] for row in drawn}
    others = [row for row in rows if row["dialogue"] not in dialogues]
    if len(others) < len(drawn):
        if set(script.kinds) - set(WRITTEN):
            logger.info("The replies of other dialogues are fewer than the contexts, so replies stand on both sides.")
        others = rows
    return drawn, others[: max(2000, 10 * len(drawn))]


def write(script: ScriptArguments, rows: list[dict], folder: Path, adapter: str | None, state: PartialState) -> dict:
    """Writes what the journal in `folder` lacks, and gives the replies of every row."""
    sampling = Sampling(script.temperature, script.top_p, script.max_new_tokens)
    names = ("corpora", "split", "max_turns", "writer", "seed", "system_prompt")
    names += ("extra_body",) if script.server else ("rows_per_batch", "dtype")
    settings = {name: getattr(script, name) for name in names} | asdict(sampling)
    settings |= {"server": bool(script.server), "adapter": adapter, "adapter_sha256": adapter_digest(adapter)}
    journal = Journal(folder, settings, state.process_index)
    if state.is_main_process:
        journal.open()
    state.wait_for_everyone()
    done = journal.rows()
    if any(row["id"] not in done for row in rows):
        if script.server:
            writer = RemoteWriter(
                script.server,
                script.writer,
                sampling,
                os.environ.get(script.api_key_variable),
                script.concurrency,
                script.requests_per_second,
                script.timeout,
                script.retries,
                extra_body=json.loads(script.extra_body or "{}"),
            )
        else:
            writer = LocalWriter.from_pretrained(script.writer, adapter, sampling, state.device, script.dtype)
        write_replies(
            writer,
            rows,
            journal,
            EMOTION_LABELS,
            script.rows_per_batch,
            script.seed,
            script.system_prompt,
            state.process_index,
            state.num_processes,
        )
    state.wait_for_everyone()
    done = journal.rows()
    return {row["id"]: done[row["id"]] for row in rows}


def build(script: ScriptArguments, rows: list[dict], pool: list[dict], replies: dict | None, output: Path, limits):
    """Chooses pairs of each kind, writes their datasets, and prints the table."""
    texts = [row["right"] for row in rows] + [text_of(row["prompt"][-1]) for row in rows]
    texts += [reply["text"] for written in (replies or {}).values() for reply in written]
    if set(script.kinds) - set(WRITTEN):
        texts += [row["right"] for row in pool]
    scorer = EmotionScorer(script.scorer, json.loads(script.label_map or "null"))
    scores = TextScores(texts, scorer, SentenceEmbedder(script.embedder))
    pairs, measures, counts = {}, {}, {}
    for kind in script.kinds:
        pairs[kind], counts[kind] = make_pairs(kind, rows, scores, replies, pool, limits, script.seed)
        if not pairs[kind]:
            raise ValueError(
                f"None of {len(rows)} contexts has a pair of kind {kind} ({listed(counts[kind])}): loosen the limits, "
                "or take a better writer."
            )
        measures[kind] = pair_measures(pairs[kind])
    for kind in script.kinds:
        facts = {name: value for name, value in asdict(script).items() if name not in PRIVATE}
        save_pairs(pairs[kind], output / kind, kind, facts, counts[kind], measures[kind])
        logger.info(f"{kind}: {listed(counts[kind])}")
    if script.inspect:
        write_sheet(output / "inspect.html", pairs, script.inspect, script.seed)
    for kind in [kind for kind, found in measures.items() if found["leaks"]]:
        logger.warning(
            f"A bag of words tells chosen from rejected in pairs of kind {kind} in more than {LEAK:.0%} of cases: "
            "training can gain by style alone. Compare with a kind whose sides have one author."
        )
    text = pair_table(measures)
    (output / "table.json").write_text(json.dumps({"measures": measures, "counts": counts}, indent=1))
    (output / "table.md").write_text(text + "\n")
    print(text)


def measure_obedience(script: ScriptArguments, rows: list[dict], output: Path, state: PartialState):
    """Prints how often a writer's replies have the emotion that was asked for, also without its adapter."""
    written = {"prompted": write(script, rows, output / "obedience_prompted", None, state)}
    if script.adapter:
        written["with its adapter"] = write(script, rows, output / "obedience_adapter", script.adapter, state)
    if not state.is_main_process:
        return
    scorer = EmotionScorer(script.scorer, json.loads(script.label_map or "null"))
    measures = {
        name: tag_obedience(replies, [scorer([reply["text"] for reply in row]) for row in replies.values()])
        for name, replies in written.items()
    }
    (output / "obedience.json").write_text(json.dumps(measures, indent=1))
    print(obedience_table(measures))


def adapter_digest(adapter: str | None) -> str | None:
    """Of an adapter's weights in a directory: one that was trained again is another writer."""
    path = Path(adapter or "", "adapter_model.safetensors")
    return sha256(path) if adapter and path.is_file() else None


def listed(counts: dict) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    (arguments,) = TrlParser((ScriptArguments,)).parse_args_and_config()
    main(arguments)
