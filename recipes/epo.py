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
What a configuration says of held-out pairs and weights, `--eval_pairs none --report false --weight_column none` takes
back.
Interrupted, the same command with `--resume_from_checkpoint true` goes on where the last checkpoint was written.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from transformers import set_seed
from trl import TrlParser

from transformers_empathav.testing.conversations import save_tiny_run
from transformers_empathav.training.adapters import (
    AdapterArguments,
    feature_cache,
    finish,
    load_base,
    with_adapter,
)
from transformers_empathav.training.arguments import evaluated, resume_from
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.pairs import from_memory, load_pairs, named_pairs
from transformers_empathav.training.epo.scores import preferences
from transformers_empathav.training.epo.trainer import EPOTrainer
from transformers_empathav.training.reading import reading_settings


NAMES = {"right": "chosen", "wrong": "rejected"}


@dataclass
class PairArguments:
    """Pairs of replies, to train on and to measure by."""

    pairs: list[str] = field(
        default_factory=list,
        metadata={"help": "Pairs to train on: directories, files, Hub ids; `random[:400]` takes the first."},
    )
    memory_only: float = field(
        default=0.0, metadata={"help": "Share of pairs of which all but the newest message is in the memory alone."}
    )
    eval_pairs: list[str] = field(
        default_factory=list, metadata={"help": "Held-out pairs, each with a name: `random=runs/random`; or `none`."}
    )
    eval_rows: int = field(default=256, metadata={"help": "Held-out pairs of each name, at most."})
    report: bool = field(
        default=False, metadata={"help": "Whether accuracies with intervals, before and after, go to preference.json."}
    )

    def __post_init__(self):
        if self.eval_pairs == ["none"]:
            self.eval_pairs = []


def main(adapter: AdapterArguments, data: PairArguments, training: EPOConfig):
    logging.basicConfig(level=logging.INFO)
    set_seed(training.seed)
    if adapter.tiny:
        adapter.checkpoint, rows = save_tiny_run(Path(training.output_dir) / "tiny")
        rows = [{NAMES.get(key, key): value for key, value in row.items()} for row in rows]
        trained, held_out = Dataset.from_list(rows[:32]), {"pairs": Dataset.from_list(rows[32:])}
    else:
        trained, held_out = load_pairs(data.pairs), named_pairs(data.eval_pairs, data.eval_rows)
    trained = from_memory(trained, data.memory_only, training.seed)
    if data.report and not held_out:
        raise ValueError(
            "There are no held-out pairs to report on: name them under `eval_pairs`, or say `--report false`."
        )
    model, processor = load_base(adapter, training.push_to_hub)
    cache = feature_cache(model, processor, adapter.cache)
    trainer = EPOTrainer(
        model=model if adapter.adapter is None else with_adapter(model, adapter),
        peft_config=adapter.lora(model) if adapter.adapter is None else None,
        args=training,
        train_dataset=trained,
        eval_dataset=evaluated(training, held_out, "held-out pairs (`eval_pairs`)"),
        processing_class=processor,
        cache=cache,
    )
    before = preferences(trainer) if data.report else None
    trainer.train(resume_from_checkpoint=resume_from(training))
    settings = reading_settings(trainer.model, processor, cache, adapter.reading_clips, training.seed)
    finish(trainer, processor, adapter.checkpoint if adapter.merge else None, adapter.card_facts(), settings)
    if data.report:
        report = {"before": before, "after": preferences(trainer)}
        if trainer.is_world_process_zero():
            Path(training.output_dir, "preference.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(*TrlParser((AdapterArguments, PairArguments, EPOConfig)).parse_args_and_config())
