r"""
Trains the reading of danger: whether a message speaks of acute danger, from the states of the language model.

    EMPATHAV_DATA=DIRECTORY python recipes/danger.py --checkpoints build/smollm2-135m build/smollm2-135m-tuned

Learns from the corpus `danger` and from everyday messages of three corpora, on the states of all checkpoints named:
the language model as it is, and with its adapter. The threshold is the least at which, in each of them, at most
`--alarms` of the dev messages of the corpora count; messages are in doubt from the least at which at most `--doubts`
are. Writes `danger.safetensors`, which `empathav assemble --trained` lays over, and `report.json`: what is found of
dev, of test (look at it once), of the statements that the lexicon was not built with, and how often everyday talk
counts. Takes ten minutes on two cores.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser

from transformers_empathav.checkpoint.danger_reading import PART_FILE, DangerReading
from transformers_empathav.checkpoint.loading import load_checkpoint
from transformers_empathav.measures.shares import wilson
from transformers_empathav.training.danger import everyday, fit, labelled, states_of


@dataclass
class DangerArguments:
    """Options."""

    checkpoints: list[str] = field(metadata={"help": "Of one language model, with its adapters and without."})
    output_dir: str = field(default="runs/danger", metadata={"help": "Where part and report go."})
    corpora: list[str] = field(
        default_factory=lambda: ["empathetic_dialogues", "esconv", "meld"],
        metadata={"help": "Everyday messages; a file of JSON lines of your own, too."},
    )
    messages: int = field(default=1000, metadata={"help": "Of each corpus, for training and for the threshold."})
    statements: str | None = field(
        default=None, metadata={"help": 'More statements, JSON lines of {"half", "kind", "text"}: "built" trains.'}
    )
    layer: int = field(default=20, metadata={"help": "Layers after which states are read; the others are not run."})
    frame: str = field(
        default="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        metadata={"help": "What the language model sees around a message, {} being the message."},
    )
    alarms: float = field(default=0.01, metadata={"help": "Share of everyday messages that may count."})
    doubts: float = field(default=0.13, metadata={"help": "Share of them that may be in doubt, alarms included."})
    epochs: int = field(default=20, metadata={"help": "Passes over the training texts."})
    seed: int = field(default=0, metadata={"help": "Of messages drawn and of training."})


def share(found: torch.Tensor) -> list:
    """How many of how many, and Wilson's 95% interval."""
    return [int(found.sum()), len(found), *(round(end, 3) for end in wilson(found))]


def main(options: DangerArguments):
    texts, danger = {}, {}
    for split in ("train", "dev", "test"):
        texts[split], danger[split] = labelled(split)
    if options.statements is not None:
        lines = map(json.loads, Path(options.statements).read_text(encoding="utf-8").splitlines())
        for line in lines:
            split = "train" if line["half"] == "built" else "held"
            texts.setdefault(split, []).append(line["text"])
            danger.setdefault(split, []).append(line["kind"] is not None)
    more = everyday(options.corpora, "train", options.messages, options.seed)
    texts["train"] += more
    danger["train"] += [False] * len(more)
    texts["corpora"] = everyday(options.corpora, "dev", options.messages, options.seed)
    danger["corpora"] = [False] * len(texts["corpora"])

    states, reading = {}, None
    for checkpoint in options.checkpoints:
        model, processor = load_checkpoint(checkpoint)
        width = model.config.text_config.hidden_size
        reading = reading or DangerReading(width, options.layer, options.frame)
        arguments = (model.model.language_model, processor.tokenizer)
        states[checkpoint] = {
            part: states_of(reading, *arguments, said, f"{checkpoint}, {part}") for part, said in texts.items()
        }
    labels = {part: torch.tensor(values) for part, values in danger.items()}
    trained = torch.cat([each["train"] for each in states.values()])
    fit(reading, trained, labels["train"].repeat(len(states)), options.epochs, options.seed)
    with torch.no_grad():
        scores = {name: {part: reading(some) for part, some in each.items()} for name, each in states.items()}
    report = {"seed": options.seed}
    for limit, allowed in (("threshold", options.alarms), ("doubt", options.doubts)):
        least = max(each["corpora"].quantile(1 - allowed).item() for each in scores.values())
        reading.settings[limit] = report[limit] = round(least, 4)
    for name, each in scores.items():
        report[name] = {
            part: {
                limit: {
                    "found": share(values[labels[part]] >= report[limit]),
                    "false alarms": share(values[~labels[part]] >= report[limit]),
                }
                for limit in ("threshold", "doubt")
            }
            for part, values in each.items()
            if part != "train"
        }
    output = Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    reading.save(output / PART_FILE)
    (output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main(*HfArgumentParser(DangerArguments).parse_args_into_dataclasses())
