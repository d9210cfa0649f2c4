r"""
Trains the reading of danger: whether a message speaks of acute danger, from the states of the language model.

    EMPATHAV_DATA=DIRECTORY python recipes/danger.py --checkpoints build/smollm2-135m build/smollm2-135m-tuned

Learns from the corpus `danger` and from everyday messages of three corpora, on the states of all checkpoints named:
the language model as it is, and with its adapter. A statement is read as the first message of a conversation and after
the beginning of another one, word by word and compressed, or after what was said before it; a message of the corpora
in one of both ways. The threshold is the least at which, in each checkpoint and way, at most `--alarms` of the dev
messages of the corpora count; messages are in doubt from the least at which at most `--doubts` are. Writes
`danger.safetensors`, which `empathav assemble --trained` lays over, and `report.json`: what is found of dev, of test
(look at it once), of the statements that the lexicon was not built with, and how often everyday talk counts. Takes
twenty minutes on two cores.
"""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import HfArgumentParser

from transformers_empathav.checkpoint.danger_reading import PART_FILE, DangerReading
from transformers_empathav.checkpoint.loading import load_checkpoint
from transformers_empathav.measures.shares import wilson
from transformers_empathav.training.danger import everyday, fit, labelled, situations, states_of


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
    beginnings: int = field(default=10, metadata={"help": "Conversations of each corpus, after which messages stand."})
    alarms: float = field(default=0.015, metadata={"help": "Share of everyday messages that may count."})
    doubts: float = field(default=0.16, metadata={"help": "Share of them that may be in doubt, alarms included."})
    epochs: int = field(default=20, metadata={"help": "Passes over the training texts."})
    seed: int = field(default=0, metadata={"help": "Of messages drawn and of training."})


FIRST, LATER = "first", "later"  # the ways in which a message is read
EVERYDAY = 4.0  # how much a message of the corpora counts: people write as they do, and not to sound like danger


@dataclass
class Said:
    """A message, whether it speaks of danger, what stands before it, and how much it counts in training."""

    text: str
    danger: bool
    way: str
    situation: tuple
    weight: float


def in_both_ways(texts, danger, earlier, begun: list, chosen: random.Random) -> list[Said]:
    """Each message twice, the second time after what was said before it, or after some beginning."""
    rows = []
    for text, label, before in zip(texts, danger, earlier):
        after = (before, None) if before else chosen.choice(begun)
        weight = 2.0 if label else 1.0
        rows += [Said(text, label, FIRST, ([], None), weight), Said(text, label, LATER, after, weight)]
    return rows


def in_one_way(texts, begun: list, chosen: random.Random) -> list[Said]:
    """Everyday messages, every other one after some beginning."""
    places = [([], None) if number % 2 else chosen.choice(begun) for number in range(len(texts))]
    return [Said(text, False, LATER if place[0] else FIRST, place, EVERYDAY) for text, place in zip(texts, places)]


def read(reading: DangerReading, model, processor, rows: list[Said], part: str) -> torch.Tensor:
    """States of messages; each situation is read once."""
    states, groups = torch.empty(len(rows), reading.mean.numel()), {}
    for place, row in enumerate(rows):
        groups.setdefault(json.dumps(row.situation), []).append(place)
    for places in tqdm(groups.values(), desc=f"states of {part}, {model.name_or_path}"):
        said = [rows[place].text for place in places]
        states[places] = states_of(reading, model, processor, said, *rows[places[0]].situation)
    return states


def share(found: torch.Tensor) -> list:
    """How many of how many, and Wilson's 95% interval."""
    return [int(found.sum()), len(found), *(round(end, 3) for end in wilson(found))]


def messages(options: DangerArguments) -> dict[str, list[Said]]:
    """What is read: to train, to set the limits (`corpora`), and to look at."""
    chosen = random.Random(options.seed)
    begun = {split: situations(options.corpora, split, options.beginnings, options.seed) for split in ("train", "dev")}
    parts = {
        split: in_both_ways(*labelled(split), begun["train" if split == "train" else "dev"], chosen)
        for split in ("train", "dev", "test")
    }
    if options.statements is not None:
        lines = [json.loads(line) for line in Path(options.statements).read_text(encoding="utf-8").splitlines()]
        for part, split, built in (("train", "train", True), ("held", "dev", False)):
            some = [line for line in lines if (line["half"] == "built") == built]
            labels = ([line["text"] for line in some], [line["kind"] is not None for line in some], [None] * len(some))
            parts[part] = parts.get(part, []) + in_both_ways(*labels, begun[split], chosen)
    for part, split in (("train", "train"), ("corpora", "dev")):
        texts = everyday(options.corpora, split, options.messages, options.seed)
        parts[part] = parts.get(part, []) + in_one_way(texts, begun[split], chosen)
    return parts


def main(options: DangerArguments):
    parts, states, reading = messages(options), {}, None
    for checkpoint in options.checkpoints:
        model, processor = load_checkpoint(checkpoint)
        reading = reading or DangerReading(model.config.text_config.hidden_size, options.layer)
        states[checkpoint] = {part: read(reading, model, processor, rows, part) for part, rows in parts.items()}
    labels = {part: torch.tensor([row.danger for row in rows]) for part, rows in parts.items()}
    trained = torch.cat([each["train"] for each in states.values()])
    weights = torch.tensor([row.weight for row in parts["train"]]).repeat(len(states))
    fit(reading, trained, labels["train"].repeat(len(states)), weights, options.epochs, options.seed)

    ways = {
        part: {way: torch.tensor([row.way == way for row in rows]) for way in (FIRST, LATER)}
        for part, rows in parts.items()
    }
    with torch.no_grad():
        scores = {name: {part: reading(some) for part, some in each.items()} for name, each in states.items()}
    report = {"seed": options.seed}
    for limit, allowed in (("threshold", options.alarms), ("doubt", options.doubts)):
        everyday_scores = [each["corpora"][way] for each in scores.values() for way in ways["corpora"].values()]
        report[limit] = round(max(some.quantile(1 - allowed).item() for some in everyday_scores), 4)
        reading.settings[limit] = report[limit]
    for name, each in scores.items():
        report[name] = {
            part: {
                way: {
                    limit: {
                        "found": share(values[labels[part] & rows] >= report[limit]),
                        "false alarms": share(values[~labels[part] & rows] >= report[limit]),
                    }
                    for limit in ("threshold", "doubt")
                }
                for way, rows in ways[part].items()
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
