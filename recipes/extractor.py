# /// script
# dependencies = ["transformers-empathav[train,eval]"]
# ///
"""
Trains the audio-visual emotion extractor: language model and encoders are frozen, and from the extractor's vectors the
language model has to name the emotion of each clip.

    accelerate launch recipes/extractor.py --config recipes/configs/extractor_smollm2-135m.yaml --folds 5
    accelerate launch recipes/extractor.py --config recipes/configs/extractor_smollm2-135m.yaml

The first measures: five trainings, each tested on speakers it has not heard, and a table with baselines. The second
trains on all speakers and writes extractor.safetensors for `empathav assemble --trained`. A corpus is a path, as it
stands or in the folder that EMPATHAV_DATA names. Interrupted, the same command with `--resume_from_checkpoint true`
goes on where the last checkpoint was written.
"""

import copy
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import TrlParser

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.checkpoint.trained_parts import load_part, part_file, renew_part, save_part, trained_tensors
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.speaker_splits import check_disjoint, group_folds, hold_out, speaker_of, take_of
from transformers_empathav.evaluation.clips.report import (
    PREDICTIONS_FILE,
    read_predictions,
    write_predictions,
    write_report,
)
from transformers_empathav.measures.recognition import emotion_metrics
from transformers_empathav.training.callbacks import DivergenceCallback, ThroughputCallback
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset, fit_features
from transformers_empathav.training.extractor.label_words import learn_words, load_words, save_words
from transformers_empathav.training.extractor.linear_start import begin_linear
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.extractor.trainer import EmotionTrainer
from transformers_empathav.training.feature_cache import FeatureCache


logger = logging.getLogger("extractor")

WORDS_FILE = "words.safetensors"


@dataclass
class ScriptArguments:
    checkpoint: str = field(metadata={"help": "EmpathAV checkpoint whose extractor is trained."})
    corpora: list[str] = field(
        default_factory=lambda: ["ravdess_audio"],
        metadata={"help": "Labelled clips: folders, csv files or JSON lines; see data/clips/corpus.py."},
    )
    extra_corpora: list[str] = field(
        default_factory=list,
        metadata={"help": "Clips that join the training side alone; those of speakers who are tested on stay out."},
    )
    label_map: list[str] = field(
        default_factory=list,
        metadata={"help": "What to do with other labels: `calm=neutral` renames, `calm=` leaves such clips out."},
    )
    split: Literal["speaker", "take"] = field(
        default="speaker", metadata={"help": "What a fold holds out; a take is statement and repetition in RAVDESS."}
    )
    folds: int = field(default=0, metadata={"help": "Folds of a cross-validation; 0 trains once, on everything."})
    dev_groups: int = field(
        default=0, metadata={"help": "Training speakers held out to stop early and keep the best."}
    )
    patience: int = field(default=4, metadata={"help": "Evaluations without a gain after which training stops."})
    cache: str = field(default="build/features", metadata={"help": "Folder of the frozen features."})
    no_cache: bool = field(default=False, metadata={"help": "Compute frozen features each time they are needed."})
    copies: int = field(default=0, metadata={"help": "Disturbed copies of each clip, cached beside it."})
    max_unreadable: float = field(default=0.01, metadata={"help": "Share of clips that may be unreadable."})
    modality_dropout: float = field(default=0.3, metadata={"help": "Share of clips that lose sound or frames."})
    time_masking: float = field(default=0.0, metadata={"help": "Longest hidden stretch of sound, share of the clip."})
    feature_dropout: float = field(default=0.0, metadata={"help": "Share of channels hidden in training."})
    statistics_gain: float = field(
        default=12.0, metadata={"help": "How fast the projection of statistics over time learns."}
    )
    choices: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings to choose from, `copies=1 feature_dropout=0.5` one of them; see `choose`."},
    )
    choice_folds: int = field(default=2, metadata={"help": "Folds of the training speakers by which it is made."})
    label_smoothing: float = field(default=0.1, metadata={"help": "Share of the target spread over all labels."})
    class_weights: bool = field(default=True, metadata={"help": "Whether rare emotions weigh more."})
    warmup_epochs: float = field(
        default=0.0, metadata={"help": "Epochs towards the embeddings of the labels, before the LLM is asked."}
    )
    word_steps: int = field(
        default=0, metadata={"help": "Steps that look for words which the LLM understands better than these; 160 do."}
    )
    linear_start: float = field(
        default=0.0,
        metadata={"help": "C of the regression that training begins as, shared by inputs; 0 for none."},
    )
    baselines: bool = field(default=True, metadata={"help": "Whether the table of a cross-validation has baselines."})
    extractor: str | None = field(default=None, metadata={"help": "Trained extractor to go on with; else begun anew."})
    llm_dtype: str = field(
        default="bfloat16", metadata={"help": "Of the frozen weights; float32 where a CPU is faster in it."}
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Of the language model; eager where the backward pass of sdpa is slow."}
    )


def main(script: ScriptArguments, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    if wrong := [pair for pair in script.label_map if "=" not in pair]:
        raise ValueError(
            f"--label_map {wrong[0]} does not say what to do: {wrong[0]}=neutral renames the label, {wrong[0]}= "
            "leaves its clips out."
        )
    label_map = {name: other or None for name, _, other in (pair.partition("=") for pair in script.label_map)}
    items, extra = (
        [item for source in sources for item in load_clip_corpus(source, label_map)]
        for sources in (script.corpora, script.extra_corpora)
    )
    model = EmpathAVForCausalLM.from_pretrained(script.checkpoint, dtype=getattr(torch, script.llm_dtype))
    processor = EmpathAVProcessor.from_pretrained(script.checkpoint)
    if script.attn_implementation is not None:
        model.model.language_model.set_attn_implementation(script.attn_implementation)
    wrapped = EmotionTraining(model, script.modality_dropout, script.time_masking)
    if script.extractor is not None:
        load_part(model, "extractor", script.extractor)
    else:
        renew_part(model, "extractor", processor.tokenizer)
        wrapped.begin()
        find_words(wrapped, script.word_steps, Path(training.output_dir) / WORDS_FILE, training)
    folder = None if script.no_cache else script.cache
    cache = FeatureCache(model.model.extractor, processor, folder, Disturbance())
    copies = max([script.copies, *(changed(script, training, choice)[0].copies for choice in script.choices)])
    items = cache.prepare(items, copies, script.max_unreadable)
    extra = cache.prepare(extra, copies, script.max_unreadable) if extra else []
    beginning = {name: tensor.clone() for name, tensor in trained_tensors(model, "extractor").items()}

    if not script.folds:
        script, training = choose(script, training, wrapped, cache, items + extra, beginning)
        trainer = train(script, training, wrapped, cache, items + extra)
        if trainer.is_world_process_zero():
            save_part(model, "extractor", Path(training.output_dir) / part_file("extractor"), dtype=torch.bfloat16)
        return
    group = {"speaker": speaker_of, "take": take_of}[script.split]
    found = []
    for fold, held_out in enumerate(group_folds(items, script.folds, group)):
        kept, test = hold_out(items, held_out, group)
        check_disjoint(group, training=kept, test=test)
        tested = {speaker_of(item) for item in test}
        joining = [item for item in extra if speaker_of(item) not in tested]
        if len(joining) < len(extra):
            logger.info(f"fold {fold}: {len(extra) - len(joining)} extra clips are of tested speakers and stay out")
        kept = kept + joining
        arguments = copy.deepcopy(training)
        arguments.output_dir = str(Path(training.output_dir) / f"fold{fold}")
        predictions = Path(arguments.output_dir) / PREDICTIONS_FILE
        if not (training.resume_from_checkpoint and predictions.is_file()):
            chosen, arguments = choose(script, arguments, wrapped, cache, kept, beginning)
            trainer = train(chosen, arguments, wrapped, cache, kept)
            if trainer.is_world_process_zero():
                save_part(model, "extractor", Path(arguments.output_dir) / part_file("extractor"))
            write_predictions(predictions, trainer, test, cache, group)
        found.append((kept, read_predictions(predictions)))
    if training.process_index == 0:
        write_report(Path(training.output_dir), model, processor, cache, found, script.baselines)


def find_words(wrapped: EmotionTraining, steps: int, path: Path, training: TrainingArguments):
    """Words for the warm-up, learned once for all folds, since no clip takes part; a resumed run has them."""
    if not steps:
        return
    wrapped.to(training.device)
    with training.main_process_first(local=False, desc="words"):
        if training.process_index == 0 and not (training.resume_from_checkpoint and path.is_file()):
            divergences = learn_words(wrapped, steps, seed=training.seed)
            logger.info(f"words: the language model is off by {np.mean(divergences[-10:]):.3f} nats")
            path.parent.mkdir(parents=True, exist_ok=True)
            save_words(wrapped, path)
        load_words(wrapped, path)


def choose(script, training: TrainingArguments, wrapped, cache: FeatureCache, items: list[dict], beginning: dict):
    """
    Settings with the changes of `choices` that serve best, and the extractor as it begins.

    Each is judged by a cross-validation over the speakers of `items`, `choice_folds` trainings of which none hears
    whom it is tested on, and by the UAR pooled over them. What was found stands in choice.json.
    """
    path = Path(training.output_dir) / "choice.json"
    found = json.loads(path.read_text()) if training.resume_from_checkpoint and path.is_file() else {}
    for choice in script.choices:
        if choice in found:
            continue
        targets, scores = [], []
        for held_out in group_folds(items, script.choice_folds):
            kept, dev = hold_out(items, held_out)
            tried, arguments = changed(script, training, choice)
            tried.dev_groups = 0
            arguments.save_strategy, arguments.resume_from_checkpoint = "no", None
            begin(wrapped, beginning, training.seed)
            trainer = train(tried, arguments, wrapped, cache, kept)
            dev = EmotionDataset(dev, cache, wrapped.model.config.emotion_labels)
            targets.extend(dev.targets)
            scores.append(trainer.scores(dev))
        found[choice] = emotion_metrics(np.array(targets), np.concatenate(scores))["uar"]
        logger.info(f"{choice}: UAR {found[choice]:.3f} over {script.choice_folds} folds of the training speakers")
        if trainer.is_world_process_zero():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1))
    begin(wrapped, beginning, training.seed)
    return changed(script, training, max(script.choices, key=found.get)) if script.choices else (script, training)


def changed(script: ScriptArguments, training: TrainingArguments, choice: str):
    """Copies of both, with the settings that `choice` names."""
    copies = copy.deepcopy(script), copy.deepcopy(training)
    for pair in choice.split():
        name, _, value = pair.partition("=")
        owner = next((owner for owner in copies if name in vars(owner)), None)
        if owner is None or type(getattr(owner, name)) not in (int, float):
            raise ValueError(f"The choice {choice!r}: {pair} is no number of this recipe, such as copies=2.")
        setattr(owner, name, type(getattr(owner, name))(value))
    return copies


def begin(wrapped: EmotionTraining, beginning: dict, seed: int):
    """The extractor as it was before any training."""
    set_seed(seed)
    wrapped.extractor.load_state_dict(beginning, strict=False)


def train(script, training: TrainingArguments, wrapped: EmotionTraining, cache: FeatureCache, items: list[dict]):
    """Trains on `items`, of which `dev_groups` speakers are kept back to stop early where that is asked for."""
    labels, dev, callbacks = wrapped.model.config.emotion_labels, None, [ThroughputCallback(), DivergenceCallback()]
    wrapped.hide(script.feature_dropout)
    if script.dev_groups:
        speakers = sorted({speaker_of(item) for item in items})
        items, dev = hold_out(items, speakers[:: max(len(speakers) // script.dev_groups, 1)][: script.dev_groups])
        check_disjoint(training=items, dev=dev)
        dev = EmotionDataset(dev, cache, labels)
        training.eval_strategy = training.save_strategy
        training.eval_delay = max(training.eval_delay, script.warmup_epochs)
        training.load_best_model_at_end, training.metric_for_best_model = True, "uar"
        training.greater_is_better = True
        callbacks.append(EarlyStoppingCallback(script.patience))
    trainer = EmotionTrainer(
        model=wrapped,
        args=training,
        train_dataset=EmotionDataset(items, cache, labels, script.copies),
        eval_dataset=dev,
        data_collator=EmotionCollator(wrapped.model.config),
        callbacks=callbacks,
        class_weights=script.class_weights,
        label_smoothing=script.label_smoothing,
        warmup_epochs=script.warmup_epochs,
    )
    fit_features(wrapped.model, trainer.train_dataset, script.statistics_gain)
    if script.linear_start:
        logger.info(
            f"begins as a regression, accuracy {begin_linear(wrapped, trainer.train_dataset, script.linear_start)}"
        )
    there = get_last_checkpoint(training.output_dir) if Path(training.output_dir).is_dir() else None
    trainer.train(resume_from_checkpoint=there if training.resume_from_checkpoint else None)
    return trainer


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments, TrainingArguments)).parse_args_and_config())
