"""The recipe of the reading of danger: on a tiny model and own messages, twice the same, its threshold kept."""

import json

import pytest
import torch
from transformers import HfArgumentParser

from helpers import load_recipe
from transformers_empathav.checkpoint.danger_reading import DangerReading, Watch, newest_message
from transformers_empathav.data.dialogues.danger import danger_lines
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.danger import everyday, fit, labelled, situations, states_of


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
    options += [folder / "more.jsonl", "--layer", 1, "--beginnings", 2, "--epochs", 1, "--output_dir", folder / output]
    recipe = load_recipe("danger")
    recipe.main(*HfArgumentParser(recipe.DangerArguments).parse_args_into_dataclasses(list(map(str, options))))
    return json.loads((folder / output / "report.json").read_text())


def test_it_trains_and_reports(folder, monkeypatch):
    lines = danger_lines()
    few = [line for line in lines if line["split"] != "train"] + [line for line in lines if line["split"] == "train"][
        :20
    ]
    monkeypatch.setattr("transformers_empathav.training.danger.danger_lines", lambda: few)
    report = run(folder, "one")
    again = run(folder, "two")
    assert report == again
    (name,) = set(report) - {"threshold", "doubt", "seed"}
    for way in ("first", "later"):
        found = {part: ways[way]["threshold"] for part, ways in report[name].items()}
        assert found["dev"]["found"][1] == 60 and found["test"]["false alarms"][1] == 10
        assert found["held"]["found"][1] == 2 and found["corpora"]["false alarms"][1] == 10
    for limit, most in (("threshold", 1), ("doubt", 2)):
        assert max(report[name]["corpora"][way][limit]["false alarms"][0] for way in ("first", "later")) == most
    parts = [DangerReading.of(folder / name) for name in ("one", "two")]
    assert all(parts[0].settings[limit] == report[limit] for limit in ("threshold", "doubt"))
    assert all(torch.equal(a, b) for a, b in zip(parts[0].state_dict().values(), parts[1].state_dict().values()))


def test_it_learns_what_can_be_told_apart():
    torch.manual_seed(1)
    danger = torch.arange(400) % 4 == 0
    states = torch.randn(400, 8) * 3 + 5 + 6 * danger[:, None]
    reading = DangerReading(4, 1)
    fit(reading, states, danger, torch.ones(400))
    with torch.no_grad():
        assert ((reading(states) > 0) == danger).float().mean() > 0.95
    fit(reading, states, danger, 1.0 - danger.float())  # what counts for nothing is not learnt
    with torch.no_grad():
        assert not (reading(states) > 0).any()


def test_everyday_messages_are_of_users_and_of_one_split(folder):
    talks = str(folder / "talks.jsonl")
    train, dev = everyday([talks], "train", 100, 0), everyday([talks], "dev", 5, 0)
    assert len(train) == 20 and len(dev) == 5 and not set(train) & set(dev) and "Yes." not in train
    texts, danger, _ = labelled("test")
    assert (sum(danger), len(danger)) == (60, 70) and len(texts) == 70


def test_messages_stand_after_beginnings_of_one_split(folder):
    found = situations([str(folder / "talks.jsonl")], "train", 5, 0)
    assert len(found) == 5 and all(messages[-1]["role"] == "assistant" for messages, _ in found)
    assert {messages[0]["role"] for messages, _ in found} == {"system", "user"}


@pytest.mark.parametrize("recent", [1, 8])
def test_states_behind_one_beginning_are_those_of_each_whole_prompt(processor, recent):
    """Word by word and compressed, whoever is in the batch."""
    model = tiny_model(processor).eval()
    reading = DangerReading(model.config.text_config.hidden_size, 1)
    before = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "My dog ran off."}]
    before.append({"role": "assistant", "content": "Oh no."})
    texts = ["I am at the pond, and it is cold, and nobody is here.", "No.", "She is three."]
    states = states_of(reading, model, processor, texts, before, recent)
    for text, some in zip(texts, states):
        said = [*before, {"role": "user", "content": text}]
        inputs = processor.apply_chat_template(
            said, recent_turns=recent, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        assert ("history_input_ids" in inputs) == (recent == 1)
        tokens = newest_message(model.config, inputs["input_ids"][0].tolist())
        given = []
        reading.forward = lambda states, given=given: given.append(states) or torch.zeros(len(states))
        Watch(reading, model.model.language_model, tokens)(model, **inputs)
        torch.testing.assert_close(given[0][0], some, atol=1e-4, rtol=1e-4)
