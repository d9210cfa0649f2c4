# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Trains the MambaCompressor by reconstruction: the language model is frozen and has to write the conversation from its
vectors. Each stage begins from the one before: the vectors learn to spell (no language model is run), single
utterances are reconstructed, then windows of a conversation. The last two stages read each utterance from an empty
state, in the frames of a conversation and with long utterances, so that it is kept as well after hundreds of others.

    accelerate launch recipes/compressor.py --config recipes/configs/compressor_smollm2-135m_0_spelling.yaml
    accelerate launch recipes/compressor.py --config recipes/configs/compressor_smollm2-135m_1_utterances.yaml
    accelerate launch recipes/compressor.py --config recipes/configs/compressor_smollm2-135m_2_conversations.yaml
    accelerate launch recipes/compressor.py --config recipes/configs/compressor_smollm2-135m_3_apart.yaml
    accelerate launch recipes/compressor.py --config recipes/configs/compressor_smollm2-135m_4_long.yaml

Corpora are `meld`, `empathetic_dialogues` and `esconv` in the folder that EMPATHAV_DATA names, or your own JSON lines;
docs/tutorial.md has them from end to end. Interrupted, the same command with `--resume_from_checkpoint true` goes on
where the last checkpoint was written.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainingArguments, set_seed
from trl import TrlParser

from transformers_empathav.checkpoint.trained_parts import load_part, part_file, renew_part, save_part
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.windows import windows
from transformers_empathav.training.arguments import ModelArguments, evaluated, resume_from
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import Reconstruction
from transformers_empathav.training.compressor.spelling import Spelling
from transformers_empathav.training.compressor.trainer import CompressorTrainer


@dataclass
class LessonArguments:
    """What the compressor learns, and from which conversations."""

    corpora: list[str] = field(default_factory=lambda: ["meld"], metadata={"help": "Corpora to train on."})
    eval_corpus: str | None = field(
        default=None, metadata={"help": "Corpus whose dev split is evaluated; all that are trained on by default."}
    )
    objective: Literal["spelling", "reconstruction"] = field(
        default="reconstruction", metadata={"help": "What is learned: see Spelling and Reconstruction."}
    )
    utterances: int = field(default=1, metadata={"help": "Messages in a window, at most: 1 for single utterances."})
    max_tokens: int = field(default=64, metadata={"help": "Longest message, in tokens."})
    joined: float = field(
        default=0.0,
        metadata={"help": "Share of messages that become a part of the one before, so that some are long."},
    )
    emotions: float = field(default=0.0, metadata={"help": "Share of emotions of messages that are read, as in use."})
    frames: float = field(
        default=0.0, metadata={"help": "Share of windows read in another frame than that of recall."}
    )
    carry_state: bool = field(
        default=True,
        metadata={"help": "Whether the state goes on from utterance to utterance; else each is read alone."},
    )
    eval_windows: int = field(default=128, metadata={"help": "Windows of the dev split that are evaluated."})
    compressor: str | None = field(
        default=None, metadata={"help": "Trained compressor to go on with, a safetensors file; else begun anew."}
    )


def main(loaded: ModelArguments, lesson: LessonArguments, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    evaluated_corpora = lesson.corpora if lesson.eval_corpus is None else [lesson.eval_corpus]
    trained, held_out = (
        [conversation for name in corpora for conversation in load_corpus(name, split)]
        for corpora, split in ((lesson.corpora, "train"), (evaluated_corpora, "dev"))
    )
    trained = windows(trained, lesson.utterances, seed=training.seed, vary=True, joined=lesson.joined)
    held_out = windows(held_out, lesson.utterances)[: lesson.eval_windows]
    if not trained:
        raise ValueError(f"{', '.join(lesson.corpora)} (train) has no message with words: there is nothing to learn.")
    model, processor = loaded.load()
    module = {"spelling": Spelling, "reconstruction": Reconstruction}[lesson.objective](model)
    if lesson.compressor is not None:
        load_part(model, "compressor", lesson.compressor)
    else:
        renew_part(model, "compressor", processor.tokenizer)
        model.model.compressor.open()
    model.config.carry_state = lesson.carry_state

    trainer = CompressorTrainer(
        model=module,
        args=training,
        train_dataset=trained,
        eval_dataset=evaluated(training, held_out, "messages in the dev split"),
        data_collator=ReconstructionCollator(
            processor, lesson.max_tokens, emotions=lesson.emotions, frames=lesson.frames
        ),
    )
    trainer.train(resume_from_checkpoint=resume_from(training))
    if trainer.is_world_process_zero():
        save_part(model, "compressor", Path(training.output_dir) / part_file("compressor"), dtype=torch.bfloat16)


if __name__ == "__main__":
    main(*TrlParser((ModelArguments, LessonArguments, TrainingArguments)).parse_args_and_config())
