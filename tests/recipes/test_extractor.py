"""The recipe of the extractor, from a folder of clips to a report and a trained part, on a tiny model."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from clips import write_clip
from helpers import load_recipe, short_labels, wake
from transformers_empathav.checkpoint.trained_parts import load_part
from transformers_empathav.data.speaker_splits import corpus_of
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.arguments import ModelArguments, parse_groups
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.arguments import ExtractorArguments
from transformers_empathav.training.extractor.learner import ExtractorLearner


RECIPE = Path(__file__).parents[2] / "recipes" / "extractor.py"
CONFIG = RECIPE.parent / "configs" / "extractor_smollm2-135m.yaml"


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("extractor")


@pytest.fixture(scope="module")
def place(tmp_path_factory, processor):
    """A checkpoint and a corpus: four speakers, each with the seven emotions, one clip unreadable."""
    folder = tmp_path_factory.mktemp("recipe")
    short_labels(wake(tiny_model(processor))).save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    (folder / "corpus").mkdir()
    lines = ["path,emotion,speaker,text"]
    for speaker in range(4):
        for number, emotion in enumerate(EMOTION_LABELS):
            name = f"{speaker}-{emotion}.mp4"
            options = {"seconds": 0.4, "frequency": 200.0 + 100 * number + 10 * speaker, "size": (64, 64), "fps": 5}
            write_clip(folder / "corpus" / name, **options)
            lines.append(f"{name},{emotion},s{speaker},Hello")
    (folder / "corpus" / "broken.mp4").write_bytes(b"no film")
    lines.append("broken.mp4,sad,s3,Hello")
    (folder / "corpus" / "labels.csv").write_text("\n".join(lines))
    return folder


def run(recipe, place, output, *arguments):
    given = ["--checkpoint", place / "tiny", "--corpora", place / "corpus", "--cache", place / "features"]
    given += ["--output_dir", place / output, "--llm_dtype", "float32", "--num_train_epochs", 1, "--use_cpu"]
    given += ["--per_device_train_batch_size", 14, "--report_to", "none", "--remove_unused_columns", "false"]
    given += ["--max_unreadable", 0.05, "--bf16", "false", "--disable_tqdm", "true", "--copies", 1, *arguments]
    recipe.main(parse_groups(ExtractorArguments, [*map(str, given)]))
    return place / output


def test_a_cross_validation_ends_in_a_table(recipe, place, capsys):
    output = run(recipe, place, "folds", "--folds", 2, "--dev_groups", 1, "--save_strategy", "epoch")
    report = json.loads((output / "report.json").read_text())
    assert report["clips"] == 28 and report["folds"] == [["s0", "s2"], ["s1", "s3"]]
    rows = report["table"]
    assert {"majority", "words alone", "face network, untrained", "logistic regression, layer 1"} <= set(rows)
    assert {"trained", "trained, audio alone", "trained, video alone"} <= set(rows)
    for row in rows.values():
        low, high = row["uar_interval"]
        assert 0 <= low <= row["uar"] <= high <= 1 and len(row["uar_by_fold"]) == 2
    assert sum(map(sum, report["confusion"])) == 28 and set(report["by_speaker"]) == {"s0", "s1", "s2", "s3"}
    assert (output / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "| trained |" in capsys.readouterr().out
    # What is done is not done again.
    before = (output / "fold0" / "predictions.json").stat().st_mtime_ns
    arguments = ("--folds", 2, "--dev_groups", 1, "--save_strategy", "epoch", "--resume_from_checkpoint", "true")
    run(recipe, place, "folds", *arguments)
    assert (output / "fold0" / "predictions.json").stat().st_mtime_ns == before
    assert json.loads((output / "report.json").read_text()) == report


def test_whole_corpora_are_held_out_and_each_has_its_cell(recipe, place, capsys):
    other, lines = place / "other", ["path,emotion,speaker"]
    other.mkdir()
    for number, emotion in enumerate(("angry", "happy", "sad") * 2):
        write_clip(other / f"{number}.m4a", seconds=0.4, fps=None, frequency=150.0 + 90 * number)
        lines.append(f"{number}.m4a,{emotion},t{number // 3}")
    (other / "labels.csv").write_text("\n".join(lines))
    given = ["--corpora", place / "corpus", other, "--folds", 2, "--balance", 1, "--class_weights", "false"]
    output = run(recipe, place, "corpora", *given, "--split", "corpus")
    cells = json.loads((output / "report.json").read_text())["cells"]
    assert [(Path(cell["tested_on"]).name, *map(Path, cell["trained_on"])) for cell in cells] == [
        ("other", place / "corpus"),
        ("corpus", other),
    ]
    assert [(cell["clips"], cell["speakers"]) for cell in cells] == [(6, 2), (12, 4)]
    assert all(cell["emotions"] == ["angry", "happy", "sad"] for cell in cells)
    assert all(set(cell["rows"]) > {"trained"} for cell in cells) and "| tested on |" in capsys.readouterr().out
    turned = run(recipe, place, "turned", *given, "--split", "other corpora", "--baselines", "false")
    found = json.loads((turned / "report.json").read_text())["cells"]
    assert [cell["tested_on"] for cell in found] == [cell["tested_on"] for cell in cells]


def test_a_temperature_is_found_on_dev_speakers_and_goes_along(recipe, place, processor):
    output = run(recipe, place, "tempered", "--dev_groups", 1, "--save_strategy", "epoch", "--pad_audio", "false")
    model = tiny_model(processor, seed=3)
    load_part(model, "extractor", output / "extractor.safetensors")
    assert model.config.emotion_temperature != 1.0 and model.config.pad_audio is False
    checkpoints = list(output.glob("checkpoint-*/extractor.safetensors"))
    load_part(model, "extractor", checkpoints[0])
    assert model.config.emotion_temperature == 1.0


def test_the_trained_part_is_laid_over_a_checkpoint(recipe, place, processor):
    output = run(recipe, place, "all", "--save_strategy", "no")
    model = tiny_model(processor, seed=3)
    load_part(model, "extractor", output / "extractor.safetensors")
    stored = load_file(output / "extractor.safetensors")
    assert not [name for name in stored if "_tower." in name]
    assert all((model.model.extractor.state_dict()[name] == tensor).all() for name, tensor in stored.items())


def test_a_checkpoint_whose_extractor_knows_the_test_speakers_gives_nothing_away(recipe, place, processor):
    plain = run(recipe, place, "plain", "--save_strategy", "no")
    trained = tiny_model(processor)
    load_part(trained, "extractor", plain / "extractor.safetensors")
    short_labels(trained).save_pretrained(place / "knowing")
    processor.save_pretrained(place / "knowing")
    again = run(recipe, place, "again", "--save_strategy", "no", "--checkpoint", place / "knowing")
    first, second = (load_file(folder / "extractor.safetensors") for folder in (plain, again))
    assert all(first[name].equal(second[name]) for name in first)
    onward = ["--extractor", plain / "extractor.safetensors"]
    third = load_file(run(recipe, place, "on", "--save_strategy", "no", *onward) / "extractor.safetensors")
    assert not all(first[name].equal(third[name]) for name in first)


def test_too_many_unreadable_clips_end_the_run(recipe, place):
    with pytest.raises(ValueError, match="1 of 29 clips cannot be read(.|\n)*broken"):
        run(recipe, place, "none", "--max_unreadable", 0.01)


def test_more_folds_than_speakers_are_refused_before_any_work(recipe, place):
    with pytest.raises(ValueError, match=r"5 folds of 4 groups \(s0, s1, s2, s3\) cannot be made"):
        run(recipe, place, "none", "--folds", 5, "--checkpoint", place / "nowhere")


def test_a_label_map_that_does_not_say_what_to_do_is_refused(recipe, place):
    with pytest.raises(ValueError, match="calm=neutral renames"):
        run(recipe, place, "none", "--label_map", "calm")


def test_the_configurations_are_understood(recipe):
    files = sorted(map(str, (CONFIG.parent / "extractor_choices").glob("*.yaml")))
    arguments = parse_groups(ExtractorArguments, ["--config", str(CONFIG), "--choose_from", *files])
    assert arguments.clips.corpora == ["ravdess_audio"] and not arguments.training.remove_unused_columns
    assert recipe.read_choices(arguments) == {
        "rate_1e-4": {"learning_rate": 1e-4},
        "rate_3e-4": {"learning_rate": 3e-4},
        "rate_3e-4_one_epoch": {"learning_rate": 3e-4, "num_train_epochs": 1},
        "rate_3e-5": {"learning_rate": 3e-5},
    }


def test_the_configuration_of_three_corpora_is_understood():
    path = CONFIG.parent / "extractor_corpora_smollm2-135m.yaml"
    arguments = parse_groups(ExtractorArguments, ["--config", str(path), "--split", "corpus", "--folds", "3"])
    assert arguments.clips.corpora == ["ravdess_audio", "cremad_audio", "nemo_audio"]
    assert arguments.held_out.group is corpus_of and not arguments.start.pad_audio
    assert arguments.clips.disturbance == Disturbance(
        bands=(4000.0, 5500.0, 5500.0, 8000.0), max_gain=8.0, max_tilt=2.0
    )


def test_disturbed_clips_are_judged_by_the_fold_that_did_not_train_on_them(recipe, place, capsys):
    run(recipe, place, "robust", "--folds", 2)
    robustness = load_recipe("robustness")
    model = ModelArguments(str(place / "tiny"), llm_dtype="float32")
    robustness.main(model, robustness.RunArguments(str(place / "robust")))

    found = json.loads((place / "robust" / "robustness.json").read_text())
    report = json.loads((place / "robust" / "report.json").read_text())
    assert found["clips"] == report["clips"] == 28
    assert found["table"]["clean"][""]["nll"] == pytest.approx(report["table"]["trained"]["nll"], rel=1e-3)
    assert set(found["table"]) == {"clean", "noise", "sound", "frames"}
    assert found["table"]["noise"]["0 dB"]["nll"] != found["table"]["clean"][""]["nll"]
    assert (place / "robust" / "robustness.png").stat().st_size > 1000

    with pytest.raises(ValueError, match="--folds"):
        robustness.main(model, robustness.RunArguments(str(place)))


def test_settings_are_chosen_on_training_speakers_alone(recipe, place, monkeypatch):
    heard, chosen = [], []
    train = ExtractorLearner.train

    def spied(learner, arguments, items):
        heard.append({item["messages"][-1]["speaker"] for item in items})
        trainer = train(learner, arguments, items)
        dropout = learner.module.modality_dropout
        chosen.append((arguments.learning.statistics_gain, trainer.args.weight_decay, dropout))
        return trainer

    monkeypatch.setattr(ExtractorLearner, "train", spied)
    settings = {"small": (1, 0.5, 0.0), "large": (3, 0.25, 1.0)}
    for name, values in settings.items():
        lines = zip(("statistics_gain", "weight_decay", "modality_dropout"), values)
        (place / f"{name}.yaml").write_text("".join(f"{setting}: {value}\n" for setting, value in lines))
    files = [place / f"{name}.yaml" for name in settings]
    arguments = ["--folds", 2, "--choice_folds", 2, "--warmup_epochs", 2, "--choose_from", *files]
    output = run(recipe, place, "chosen", *arguments)
    assert heard == [*[{"s3"}, {"s1"}] * 2, {"s1", "s3"}, *[{"s2"}, {"s0"}] * 2, {"s0", "s2"}]
    for fold in range(2):
        found = json.loads((output / f"fold{fold}" / "choice.json").read_text())
        assert set(found) == set(settings) and found["small"]["settings"]["weight_decay"] == 0.5
        best = max(settings, key=lambda name: found[name]["uar"])
        *tried, final = chosen[5 * fold : 5 * fold + 5]
        assert tried == [settings["small"]] * 2 + [settings["large"]] * 2
        assert final == settings[best]
    # What was chosen is not chosen again, and training begins where it would have begun without a choice.
    (output / "fold1" / "predictions.json").unlink()
    heard.clear()
    run(recipe, place, "chosen", *arguments, "--resume_from_checkpoint", "true")
    assert heard == [{"s0", "s2"}]
    given = [word for line in (place / f"{best}.yaml").read_text().splitlines() for word in f"--{line}".split(": ")]
    run(recipe, place, "alone", "--folds", 2, "--warmup_epochs", 2, *given)
    first, second = (
        json.loads((place / run / "fold1" / "predictions.json").read_text()) for run in ("chosen", "alone")
    )
    assert first == second
    # A file that has changed since is judged anew.
    (output / "fold1" / "predictions.json").unlink()
    (place / "small.yaml").write_text("weight_decay: 0.75\n")
    heard.clear()
    run(recipe, place, "chosen", *arguments, "--resume_from_checkpoint", "true")
    assert heard == [{"s2"}, {"s0"}, {"s0", "s2"}]
