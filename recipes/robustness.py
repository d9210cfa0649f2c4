# /// script
# dependencies = ["transformers-empathav[train,eval]"]
# ///
"""
What noise, missing sound, dropped frames and a hidden face cost an extractor, on the held-out clips of a
cross-validation of recipes/extractor.py: each fold's extractor judges the clips that it was not trained on.

    python recipes/robustness.py --checkpoint build/smollm2-135m --run runs/folds

Writes robustness.json, robustness.md and robustness.png into the run's folder.
"""

from dataclasses import dataclass, field
from pathlib import Path

from trl import TrlParser

from transformers_empathav.checkpoint.trained_parts import load_part, part_file
from transformers_empathav.evaluation.clips.report import PREDICTIONS_FILE, read_predictions
from transformers_empathav.evaluation.clips.robustness import disturbed_scores, write_robustness
from transformers_empathav.training.arguments import ModelArguments
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.feature_cache import FeatureCache


@dataclass
class RunArguments:
    """The cross-validation whose extractors are judged."""

    run: str = field(metadata={"help": "Output directory of recipes/extractor.py --folds."})
    every: int = field(default=1, metadata={"help": "Take each n-th clip of a fold."})


def main(loaded: ModelArguments, script: RunArguments):
    folds = sorted(path.parent for path in Path(script.run).glob(f"fold*/{PREDICTIONS_FILE}"))
    if not folds:
        raise ValueError(f"{script.run} holds no fold*/{PREDICTIONS_FILE}: run recipes/extractor.py --folds first.")
    model, processor = loaded.load()
    module, cache = EmotionTraining(model), FeatureCache(model.model.extractor, processor)
    targets, scores = [], []
    for fold in folds:
        load_part(model, "extractor", fold / part_file("extractor"))
        items = read_predictions(fold / PREDICTIONS_FILE)["items"][:: script.every]
        targets += [model.config.emotion_labels.index(item["messages"][-1]["emotion"]) for item in items]
        scores.append(disturbed_scores(module, cache, items))
        print(f"{fold.name}: {len(items)} clips", flush=True)
    print(write_robustness(script.run, targets, scores))


if __name__ == "__main__":
    main(*TrlParser((ModelArguments, RunArguments)).parse_args_and_config())
