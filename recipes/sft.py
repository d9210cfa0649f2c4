# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Response tuning: an adapter (LoRA) on the language model learns to write the replies of conversations.

    accelerate launch recipes/sft.py --config recipes/configs/sft_tiny.yaml
    accelerate launch recipes/sft.py --config recipes/configs/sft_smollm2-135m.yaml
    accelerate launch recipes/sft.py --config recipes/configs/sft_tags_smollm2-135m.yaml

The first needs nothing: it makes a tiny random checkpoint, clips and replies of its own. The last trains a writer of
replies on demand: the prompt ends with the emotion that the reply shall have, in brackets. A person labelled MELD's
replies; others are left out, or with `--tag_scorer` a classifier names their emotion, so that the writer learns to
write as the people of that corpus do. Corpora are `meld`, `empathetic_dialogues` and `esconv` in the folder that
EMPATHAV_DATA names, or your own JSON lines. Interrupted, the same command with `--resume_from_checkpoint true` goes on
where the last checkpoint was written.
"""

import logging
import random
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from transformers import TrainingArguments, set_seed
from trl import TrlParser

from transformers_empathav import EMOTION_LABELS
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.replies import bracketed, reply_rows, text_of
from transformers_empathav.emotion.scorer_part import scorer_directory
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.testing.conversations import save_tiny_checkpoint, tiny_conversations
from transformers_empathav.training.adapters import (
    AdapterArguments,
    feature_cache,
    finish,
    load_base,
    resume_from,
    with_adapter,
)
from transformers_empathav.training.callbacks import DivergenceCallback, ThroughputCallback
from transformers_empathav.training.collator import ConversationCollator
from transformers_empathav.training.replies.trainer import ResponseTrainer


logger = logging.getLogger("sft")


@dataclass
class ScriptArguments(AdapterArguments):
    corpora: list[str] = field(default_factory=lambda: ["meld"], metadata={"help": "Corpora to train on."})
    eval_corpus: str = field(default="meld", metadata={"help": "Corpus whose dev split is evaluated."})
    eval_rows: int = field(default=256, metadata={"help": "Rows of the dev split that are evaluated."})
    max_length: int | None = field(default=512, metadata={"help": "Positions of prompt and reply together."})
    recent_turns: int | None = field(default=None, metadata={"help": "Messages verbatim; older ones are compressed."})
    max_turns: int | None = field(default=None, metadata={"help": "Messages of a prompt, the newest; all by default."})
    min_words: int = field(default=1, metadata={"help": "Shorter replies are not trained on."})
    emotion_tags: bool = field(
        default=False,
        metadata={"help": "Whether the prompt says the emotion of the reply; those without one are left out."},
    )
    tag_scorer: str | None = field(
        default=None, metadata={"help": "Classifier (see emotion_scorer.py) that names it where no person did."}
    )
    train_rows: int | None = field(default=None, metadata={"help": "Rows to train on, drawn at random; all else."})


def main(script: ScriptArguments, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    if script.tiny:
        trained, held_out = make_tiny(script, Path(training.output_dir) / "tiny")
    else:
        trained = rows(script, script.corpora, "train", script.train_rows, training.seed)
        held_out = rows(script, [script.eval_corpus], "dev", script.eval_rows, training.seed)
    model, processor = load_base(script, training.push_to_hub)
    collator = ConversationCollator(
        processor,
        cache=feature_cache(model, processor, script.cache),
        max_length=script.max_length,
        recent_turns=script.recent_turns,
    )
    trained, held_out = collator.usable(trained), collator.usable(held_out)
    logger.info(f"{len(trained)} replies to train on, {len(held_out)} to evaluate")
    trainer = ResponseTrainer(
        model=with_adapter(model, script),
        args=training,
        train_dataset=trained,
        eval_dataset=held_out,
        data_collator=collator,
        callbacks=[ThroughputCallback(), DivergenceCallback()],
    )
    trainer.train(resume_from_checkpoint=resume_from(training))
    finish(trainer, processor, script.checkpoint if script.merge else None)


def rows(
    script: ScriptArguments, corpora: list[str], split: str, most: int | None = None, seed: int = 0
) -> list[dict]:
    """Prompts and replies of corpora, with the emotion of the reply in the prompt where that is asked for."""
    conversations = [item for name in corpora for item in load_corpus(name, split)]
    found = reply_rows(conversations, script.max_turns, script.min_words)
    if script.emotion_tags and script.tag_scorer is None:
        found = [row for row in found if row["emotion"] is not None]
    if not found:
        raise ValueError(
            f"{', '.join(corpora)} ({split}) has no reply to train on: give conversations in which an assistant "
            "answers a user" + (", with the emotion of the reply, or a tag_scorer." if script.emotion_tags else ".")
        )
    if most is not None:
        found = random.Random(seed).sample(found, min(most, len(found)))
    if script.emotion_tags:
        found = [{**row, "prompt": bracketed(row["prompt"], tag)} for row, tag in zip(found, tags(script, found))]
    return [{name: row[name] for name in ("id", "prompt", "completion")} for row in found]


def tags(script: ScriptArguments, found: list[dict]) -> list[str]:
    """The emotion of each reply: a person's label, else the classifier's likeliest."""
    unlabelled = [text_of(row["completion"][0]) for row in found if row["emotion"] is None]
    named = iter(())
    if unlabelled:
        scores = EmotionScorer(scorer_directory(script.tag_scorer))(unlabelled)
        named = iter(EMOTION_LABELS[index] for index in scores.argmax(axis=1))
    return [row["emotion"] or next(named) for row in found]


def make_tiny(script: ScriptArguments, folder: Path) -> tuple[list[dict], list[dict]]:
    """A tiny random checkpoint and synthetic replies to clips, in `folder`."""
    with PartialState().main_process_first():
        script.checkpoint = str(save_tiny_checkpoint(folder))
        made = tiny_conversations(folder / "clips", 40)
    made = [{"id": row["id"], "prompt": row["prompt"], "completion": row["right"]} for row in made]
    return made[:32], made[32:]


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments, TrainingArguments)).parse_args_and_config())
