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
stands or in the folder that EMPATHAV_DATA names.

    accelerate launch recipes/extractor.py --config recipes/configs/extractor_smollm2-135m.yaml --folds 5 \
        --choose_from recipes/configs/extractor_choices/*.yaml

In the third each training first chooses the settings that serve its training speakers best. Interrupted, the same
command with `--resume_from_checkpoint true` goes on where the last checkpoint was written.
"""

import logging
from pathlib import Path

import torch
from transformers import set_seed

from transformers_empathav.evaluation.clips.report import (
    PREDICTIONS_FILE,
    read_predictions,
    write_predictions,
    write_report,
)
from transformers_empathav.training.arguments import parse_groups, resumes
from transformers_empathav.training.extractor.arguments import ExtractorArguments
from transformers_empathav.training.extractor.choice import choose, read_choices
from transformers_empathav.training.extractor.cross_validation import check_groups, folds_with_extra
from transformers_empathav.training.extractor.learner import ExtractorLearner


def main(arguments: ExtractorArguments):
    logging.basicConfig(level=logging.INFO)
    set_seed(arguments.training.seed)
    clips, held_out = arguments.clips, arguments.held_out
    choices = read_choices(arguments)
    items, extra = clips.load()
    check_groups(items, extra, arguments)
    model, processor = arguments.model.load()
    learner = ExtractorLearner(model, processor, arguments)
    copies = max(settings.get("copies", arguments.learning.copies) for settings in (*choices.values(), {}))
    items = learner.cache.prepare(items, copies, clips.max_unreadable)
    extra = learner.cache.prepare(extra, copies, clips.max_unreadable) if extra else []

    if not held_out.folds:
        trainer = learner.train(choose(learner, arguments, choices, items + extra), items + extra)
        if trainer.is_world_process_zero():
            learner.save(arguments.training.output_dir, torch.bfloat16)
        return
    found = []
    for number, (kept, test) in enumerate(folds_with_extra(items, extra, held_out)):
        fold = arguments.within(f"fold{number}")
        predictions = Path(fold.training.output_dir) / PREDICTIONS_FILE
        if not (resumes(fold.training) and predictions.is_file()):
            trainer = learner.train(choose(learner, fold, choices, kept), kept)
            if trainer.is_world_process_zero():
                learner.save(fold.training.output_dir)
            write_predictions(predictions, trainer, test, learner.cache, held_out.group)
        found.append((kept, read_predictions(predictions)))
    if arguments.training.process_index == 0:
        write_report(arguments.training.output_dir, model, processor, learner.cache, found, held_out.baselines)


if __name__ == "__main__":
    main(parse_groups(ExtractorArguments))
