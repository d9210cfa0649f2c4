"""The scorer's recipe: JSON lines of one's own, a small file, a stock model directory, its configuration."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from trl import TrlParser

from helpers import load_recipe
from texts import write_encoder
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


RECIPE = Path(__file__).parents[2] / "recipes" / "emotion_scorer.py"


@pytest.fixture
def folder(tmp_path):
    write_encoder(tmp_path / "encoder")
    with open(tmp_path / "talks.jsonl", "w") as stream:
        for number in range(42):
            emotion = EMOTION_LABELS[number % 7]
            messages = [{"role": "user", "content": f"{emotion} {number}", "emotion": emotion}]
            split = "dev" if number >= 35 else "train"
            stream.write(json.dumps({"split": split, "messages": messages}) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("emotion_scorer")


def run(recipe, **options):
    given = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
    recipe.main(*TrlParser((recipe.ScriptArguments, recipe.TrainingArguments)).parse_args_and_config(given))


def test_trained_resumed_reported_and_assembled(recipe, folder, capsys):
    options = {
        "config": RECIPE.parent / "configs" / "emotion_scorer.yaml",
        "corpora": folder / "talks.jsonl",
        "encoder": folder / "encoder",
        "output_dir": folder / "out",
        "max_steps": 4,
        "save_steps": 2,
        "learning_rate": 1e-2,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    run(recipe, **options)
    talks = str(folder / "talks.jsonl")
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last) == {talks} and 0 <= last[talks]["uar"] <= 1
    report = json.loads((folder / "out" / "report.json").read_text())
    table = report["corpora"][talks]
    assert table["majority"]["uar"] == pytest.approx(1 / 7) and set(table) == {"majority", "lexicon", "scorer"}
    assert report["trained_on"] == [talks] and "lexicon" in (folder / "out" / "README.md").read_text()
    scores = EmotionScorer(folder / "out")(["happy 1", "sad 2"])

    part = folder / "out" / "emotion_scorer.safetensors"
    whole = load_file(part)
    run(recipe, assemble=part, output_dir=folder / "again")
    assert (EmotionScorer(folder / "again")(["happy 1", "sad 2"]) == scores).all()

    (folder / "out" / "checkpoint-4").rename(folder / "gone")
    part.unlink()
    run(recipe, **options, resume_from_checkpoint=True)
    assert all((tensor == load_file(part)[name]).all() for name, tensor in whole.items())
