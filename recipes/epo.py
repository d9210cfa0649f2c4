# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Empathetic preference optimisation: an adapter (LoRA) on the language model learns to prefer the right reply over a
counter-emotional one, in conversations of text, clips and memory.

    accelerate launch recipes/epo.py --config recipes/configs/epo_tiny.yaml
    accelerate launch recipes/epo.py --config recipes/configs/epo_smollm2-135m.yaml

The first needs nothing: it makes a tiny random checkpoint, clips and pairs of its own. Pairs are what
recipes/counter_emotional.py writes, a dataset of the Hub, or JSON lines `{"prompt", "chosen", "rejected"}` of yours.
Interrupted, the same command with `--resume_from_checkpoint true` goes on where the last checkpoint was written.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset
from transformers import set_seed
from trl import TrlParser

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
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.pairs import load_pairs, named_pairs
from transformers_empathav.training.epo.scores import pair_scores, preference_summary
from transformers_empathav.training.epo.trainer import EPOTrainer


NAMES = {"right": "chosen", "wrong": "rejected"}


@dataclass
class ScriptArguments(AdapterArguments):
    pairs: list[str] = field(
        default_factory=list, metadata={"help": "Pairs to train on: directories, files, Hub ids."}
    )
    eval_pairs: list[str] = field(
        default_factory=list, metadata={"help": "Held-out pairs, each with a name of its own: `random=runs/random`."}
    )
    eval_rows: int = field(default=256, metadata={"help": "Held-out pairs of each name, at most."})
    report: bool = field(
        default=False, metadata={"help": "Whether accuracies with intervals, before and after, go to preference.json."}
    )


def main(script: ScriptArguments, training: EPOConfig):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    if script.tiny:
        trained, held_out = make_tiny(script, Path(training.output_dir) / "tiny")
    else:
        trained = load_pairs(script.pairs)
        held_out = named_pairs(script.eval_pairs, script.eval_rows)
    if script.report and not held_out:
        raise ValueError("There are no held-out pairs to report on: name them under `eval_pairs`.")
    model, processor = load_base(script, training.push_to_hub)
    trainer = EPOTrainer(
        model=model if script.adapter is None else with_adapter(model, script),
        peft_config=script.lora() if script.adapter is None else None,
        args=training,
        train_dataset=trained,
        eval_dataset=held_out or None,
        processing_class=processor,
        cache=feature_cache(model, processor, script.cache),
        callbacks=[ThroughputCallback(), DivergenceCallback()],
    )
    report = {}
    if script.report:
        report["before"] = preferences(trainer)
    trainer.train(resume_from_checkpoint=resume_from(training))
    finish(trainer, processor, script.checkpoint if script.merge else None)
    if script.report:
        report["after"] = preferences(trainer)
        if trainer.is_world_process_zero():
            Path(training.output_dir, "preference.json").write_text(json.dumps(report, indent=1))


def preferences(trainer: EPOTrainer) -> dict:
    """Accuracies of each set of held-out pairs."""
    return {name: preference_summary(pair_scores(trainer, pairs)) for name, pairs in trainer.eval_dataset.items()}


def make_tiny(script: ScriptArguments, folder: Path) -> tuple[Dataset, dict[str, Dataset]]:
    """A tiny random checkpoint and synthetic pairs with clips, in `folder`."""
    with PartialState().main_process_first():
        script.checkpoint = str(save_tiny_checkpoint(folder))
        rows = tiny_conversations(folder / "clips", 40)
    rows = [{NAMES.get(key, key): value for key, value in row.items()} for row in rows]
    return Dataset.from_list(rows[:32]), {"pairs": Dataset.from_list(rows[32:])}


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments, EPOConfig)).parse_args_and_config())
