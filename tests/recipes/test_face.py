"""The face recipe: parquet files of one's own, a small file, a model directory, its configuration."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trl import TrlParser

from faces import picture, write_faces
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder
from transformers_empathav.training.faces.part import load_face


RECIPE = Path(__file__).parents[2] / "recipes" / "face.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("recipe_face", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setenv("EMPATHAV_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    write_faces(tmp_path / "data" / "train.parquet", 70)
    write_faces(tmp_path / "data" / "test.parquet", 14, seed=1)
    return {
        "config": RECIPE.parent / "configs" / "face_fer2013.yaml",
        "faces": "train.parquet",
        "test_faces": "test.parquet",
        "image_size": 16,
        "stem_channels": 4,
        "module_channels": 8,
        "module_depths": 1,
        "output_dir": tmp_path / "out",
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "per_device_train_batch_size": 16,
        "use_cpu": True,
        "disable_tqdm": True,
    }


def run(recipe, **options):
    given = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
    parser = TrlParser((recipe.ScriptArguments, recipe.FaceAugmentation, recipe.TrainingArguments))
    recipe.main(*parser.parse_args_and_config(given))


def test_trained_resumed_and_reported(recipe, options, tmp_path, capsys):
    run(recipe, **options)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last) == {"dev", "test.parquet"} and all(0 <= value <= 1 for value in last.values())
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert report["parameters"] > 0 and report["train_faces"] + report["dev_faces"] == 70 and report["dev_faces"] == 7
    assert report["towers"]["residual"]["test.parquet"]["rows"] == 14 and report["minutes"] >= 0

    whole, part = load_file(out / "face.safetensors"), out / "face.safetensors"
    small, model = load_face(part), FaceEncoder.from_pretrained(out).eval()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in small.state_dict().items())
    average = load_file(out / "checkpoint-4" / "average.safetensors")
    weights = load_file(out / "checkpoint-4" / "model.safetensors")
    assert torch.equal(average["stem.0.weight"].bfloat16(), whole["stem.0.weight"])
    assert not torch.equal(average["stem.0.weight"], weights["stem.0.weight"])

    part.unlink()
    run(recipe, **options | {"test_only": True})
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(part).items())
    (out / "checkpoint-4").rename(tmp_path / "gone")
    part.unlink()
    run(recipe, **options, resume_from_checkpoint=True)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load_file(part).items())


def test_a_training_face_that_is_tested_on_is_left_out(recipe, options, tmp_path):
    write_faces(tmp_path / "data" / "test.parquet", 35)
    pixels = write_faces(tmp_path / "data" / "train.parquet", 35)
    more = write_faces(tmp_path / "more.parquet", 35, seed=2)
    write_faces(tmp_path / "data" / "train.parquet", 70, jpeg=[picture(face) for face in (*pixels, *more)])
    run(recipe, **options | {"max_steps": 1})
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["train_faces"] + report["dev_faces"] == 35


def test_a_report_without_a_checkpoint_is_refused(recipe, options):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        run(recipe, **options, test_only=True)
