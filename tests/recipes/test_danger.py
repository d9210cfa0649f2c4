"""The recipe of the reading of danger: on a tiny model and own messages, twice the same, its threshold kept."""

import json

import pytest
import torch
from transformers import HfArgumentParser

from helpers import load_recipe
from transformers_empathav.checkpoint.danger_reading import DangerReading
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.danger import everyday, fit, labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory, processor):
    made = tmp_path_factory.mktemp("danger")
    tiny_model(processor).save_pretrained(made / "tiny")
    processor.save_pretrained(made / "tiny")
    with open(made / "talks.jsonl", "w") as stream:
        for number in range(40):
            split = "dev" if number % 2 else "train"
            messages = [{"role": "user", "content": f"Nice day {number}"}, {"role": "assistant", "content": "Yes."}]
            stream.write(json.dumps({"split": split, "messages": messages}) + "\n")
    with open(made / "more.jsonl", "w") as stream:
        for number, half in enumerate(("built", "held", "held")):
            stream.write(
                json.dumps({"half": half, "kind": "suicide" if number else None, "text": f"t{number}"}) + "\n"
            )
    return made


def run(folder, output):
    options = ["--checkpoints", folder / "tiny", "--corpora", folder / "talks.jsonl", "--statements"]
    options += [folder / "more.jsonl", "--layer", 1, "--frame", "[{}]", "--epochs", 1, "--output_dir", folder / output]
    recipe = load_recipe("danger")
    recipe.main(*HfArgumentParser(recipe.DangerArguments).parse_args_into_dataclasses(list(map(str, options))))
    return json.loads((folder / output / "report.json").read_text())


def test_it_trains_and_reports(folder):
    report = run(folder, "one")
    again = run(folder, "two")
    assert report == again
    (name,) = set(report) - {"threshold", "doubt", "seed"}
    found = {part: limits["threshold"] for part, limits in report[name].items()}
    assert found["dev"]["found"][1] == 60 and found["test"]["false alarms"][1] == 10
    assert found["held"]["found"][1] == 2 and found["corpora"]["false alarms"][:2] == [1, 20]
    assert report[name]["corpora"]["doubt"]["false alarms"][:2] == [3, 20]
    parts = [DangerReading.of(folder / name) for name in ("one", "two")]
    assert all(parts[0].settings[limit] == report[limit] for limit in ("threshold", "doubt"))
    assert all(torch.equal(a, b) for a, b in zip(parts[0].state_dict().values(), parts[1].state_dict().values()))


def test_it_learns_what_can_be_told_apart():
    torch.manual_seed(1)
    danger = torch.arange(400) % 4 == 0
    states = torch.randn(400, 8) * 3 + 5 + 6 * danger[:, None]
    reading = DangerReading(4, 1, "{}")
    fit(reading, states, danger)
    with torch.no_grad():
        assert ((reading(states) > 0) == danger).float().mean() > 0.95


def test_everyday_messages_are_of_users_and_of_one_split(folder):
    talks = str(folder / "talks.jsonl")
    train, dev = everyday([talks], "train", 100, 0), everyday([talks], "dev", 5, 0)
    assert len(train) == 20 and len(dev) == 5 and not set(train) & set(dev) and "Yes." not in train
    texts, danger = labelled("test")
    assert (sum(danger), len(danger)) == (60, 70) and len(texts) == 70
