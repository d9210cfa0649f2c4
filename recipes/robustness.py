# /// script
# dependencies = ["transformers-empathav[train,eval]"]
# ///
"""
What noise, missing sound, dropped frames and a hidden face cost an extractor, on the held-out clips of a
cross-validation of recipes/extractor.py: each fold's extractor judges the clips that it was not trained on.

    python recipes/robustness.py --checkpoint build/smollm2-135m --run runs/folds

Writes robustness.json, robustness.md and robustness.png into the run's folder.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from trl import TrlParser

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.checkpoint.trained_parts import load_part, part_file
from transformers_empathav.evaluation.clips.plots import plot_robustness
from transformers_empathav.evaluation.clips.report import PREDICTIONS_FILE, read_predictions
from transformers_empathav.evaluation.clips.robustness import disturbed_scores
from transformers_empathav.measures.recognition import emotion_metrics
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.feature_cache import FeatureCache


@dataclass
class ScriptArguments:
    run: str = field(metadata={"help": "Output directory of recipes/extractor.py --folds."})
    checkpoint: str = field(metadata={"help": "EmpathAV checkpoint whose extractor was trained."})
    every: int = field(default=1, metadata={"help": "Take each n-th clip of a fold."})
    llm_dtype: str = field(default="bfloat16", metadata={"help": "Of the frozen weights."})


def main(script: ScriptArguments):
    folds = sorted(path.parent for path in Path(script.run).glob(f"fold*/{PREDICTIONS_FILE}"))
    if not folds:
        raise ValueError(f"{script.run} holds no fold*/{PREDICTIONS_FILE}: run recipes/extractor.py --folds first.")
    model = EmpathAVForCausalLM.from_pretrained(script.checkpoint, dtype=getattr(torch, script.llm_dtype))
    processor = EmpathAVProcessor.from_pretrained(script.checkpoint)
    training = EmotionTraining(model)
    cache = FeatureCache(model.model.extractor, processor)
    targets, found = [], {}
    for fold in folds:
        load_part(model, "extractor", fold / part_file("extractor"))
        items = read_predictions(fold / PREDICTIONS_FILE)["items"][:: script.every]
        targets += [model.config.emotion_labels.index(item["messages"][-1]["emotion"]) for item in items]
        for kind, levels in disturbed_scores(training, cache, items).items():
            for level, scores in levels.items():
                found.setdefault(kind, {}).setdefault(level, []).append(scores)
        print(f"{fold.name}: {len(items)} clips", flush=True)
    table = {
        kind: {level: emotion_metrics(np.array(targets), np.concatenate(scores)) for level, scores in levels.items()}
        for kind, levels in found.items()
    }
    output = Path(script.run)
    (output / "robustness.json").write_text(json.dumps({"clips": len(targets), "table": table}, indent=1))
    lines = [f"{len(targets)} held-out clips.", "", "| | accuracy | UAR |", "| --- | ---: | ---: |"]
    for kind, levels in table.items():
        lines += [
            f"| {f'{kind} {level}'.strip()} | {row['accuracy']:.3f} | {row['uar']:.3f} |"
            for level, row in levels.items()
        ]
    text = "\n".join(lines) + "\n"
    (output / "robustness.md").write_text(text)
    plot_robustness(
        {kind: {level: row["accuracy"] for level, row in levels.items()} for kind, levels in table.items()},
        output / "robustness.png",
    )
    print(text)


if __name__ == "__main__":
    main(*TrlParser(ScriptArguments).parse_args_and_config())
