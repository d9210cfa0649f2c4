# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Response tuning: an adapter (LoRA) on the language model learns to write the replies of conversations.

    accelerate launch recipes/sft.py --config recipes/configs/sft_tiny.yaml
    accelerate launch recipes/sft.py --config recipes/configs/sft_smollm2-135m.yaml
    accelerate launch recipes/sft.py --config recipes/configs/sft_smollm2-135m_mixed.yaml
    accelerate launch recipes/sft.py --config recipes/configs/sft_tags_smollm2-135m.yaml

The first needs nothing: it makes a tiny random checkpoint, clips and replies of its own. The last trains a writer of
replies on demand: the prompt ends with the emotion that the reply shall have, in brackets. A person labelled MELD's
replies; others are left out, or with `--tag_scorer` a classifier names their emotion, so that the writer learns to
write as the people of that corpus do. Corpora are `meld`, `empathetic_dialogues` and `esconv` in the folder that
EMPATHAV_DATA names; `earlier_turns` and `word_for_word`, questions about what was said before, made out of the latter
two; `danger`, our own replies to people in danger; `voiced`, our own replies to news of which a clip alone tells
whether it is good; or your own JSON lines, which docs/tutorial.md has from end to end. The third command takes of each
corpus a share, and of a part of the rows the older messages from the memory alone. Interrupted, the
same command with `--resume_from_checkpoint true` goes on where the last checkpoint was written.
"""

import logging
from pathlib import Path

from transformers import TrainingArguments, set_seed
from trl import TrlParser

from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.testing.conversations import save_tiny_run
from transformers_empathav.training.adapters import (
    AdapterArguments,
    feature_cache,
    finish,
    load_base,
    with_adapter,
)
from transformers_empathav.training.arguments import evaluated, resume_from
from transformers_empathav.training.collator import ConversationCollator
from transformers_empathav.training.reading import reading_settings
from transformers_empathav.training.replies.rows import ReplyArguments, training_rows
from transformers_empathav.training.replies.trainer import ResponseTrainer


logger = logging.getLogger("sft")


def main(adapter: AdapterArguments, replies: ReplyArguments, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    if adapter.tiny:
        adapter.checkpoint, rows = save_tiny_run(Path(training.output_dir) / "tiny")
        rows = [{"id": row["id"], "prompt": row["prompt"], "completion": row["right"]} for row in rows]
        trained, held_out = rows[:32], rows[32:]
    else:
        classify = None if replies.tag_scorer is None else EmotionScorer(replies.tag_scorer)
        evaluated_corpora = replies.corpora if replies.eval_corpus is None else [replies.eval_corpus]
        trained, held_out = (
            training_rows(replies, corpora, split, most, training.seed, classify)
            for corpora, split, most in (
                (replies.corpora, "train", replies.train_rows),
                (evaluated_corpora, "dev", replies.eval_rows),
            )
        )
    model, processor = load_base(adapter, training.push_to_hub)
    cache = feature_cache(model, processor, adapter.cache)
    collator = ConversationCollator(
        processor,
        cache=cache,
        max_length=replies.max_length,
        recent_turns=replies.recent_turns,
    )
    trained, held_out = collator.usable(trained), collator.usable(held_out)
    logger.info(f"{len(trained)} replies to train on, {len(held_out)} to evaluate")
    trainer = ResponseTrainer(
        model=with_adapter(model, adapter),
        args=training,
        train_dataset=trained,
        eval_dataset=evaluated(training, held_out, "replies in the dev split"),
        data_collator=collator,
    )
    trainer.train(resume_from_checkpoint=resume_from(training))
    settings = reading_settings(trainer.model, processor, cache, adapter.reading_clips, training.seed)
    finish(trainer, processor, adapter.checkpoint if adapter.merge else None, adapter.card_facts(), settings)


if __name__ == "__main__":
    main(*TrlParser((AdapterArguments, ReplyArguments, TrainingArguments)).parse_args_and_config())
