"""Files of settings to choose from: which are read, and which are refused by name."""

from dataclasses import replace

import pytest
from transformers import TrainingArguments

from transformers_empathav.training.arguments import ModelArguments
from transformers_empathav.training.extractor.arguments import (
    ChoiceArguments,
    ClipArguments,
    ExtractorArguments,
    HeldOutArguments,
    LearningArguments,
    StartArguments,
)
from transformers_empathav.training.extractor.choice import changed, read_choices


def arguments_of(folder, files=(), **options):
    training = TrainingArguments(str(folder / "out"), use_cpu=True, report_to="none", **options)
    choice = ChoiceArguments(choose_from=[str(path) for path in files])
    return ExtractorArguments(
        ModelArguments("any"),
        ClipArguments(),
        HeldOutArguments(),
        StartArguments(),
        LearningArguments(),
        choice,
        training,
    )


def written(path, text):
    path.write_text(text)
    return path


def test_a_choice_changes_how_it_learns_and_nothing_else(tmp_path):
    text = "copies: 2\nclass_weights: false\nlearning_rate: 3e-4\nlr_scheduler_type: cosine\nwarmup_steps: 0.1\n"
    arguments = arguments_of(tmp_path, [written(tmp_path / "a.yaml", text)])
    (settings,) = read_choices(arguments).values()
    assert settings["learning_rate"] == 3e-4  # a word in YAML
    other = changed(arguments, settings)
    assert (other.learning.copies, other.learning.class_weights) == (2, False)
    assert (other.training.learning_rate, other.training.lr_scheduler_type) == (3e-4, "cosine")
    assert other.training.warmup_steps == 0.1 and other.training.output_dir == arguments.training.output_dir
    assert (other.clips, other.held_out) == (arguments.clips, arguments.held_out)
    assert arguments.learning == LearningArguments() and arguments.training.learning_rate == 5e-5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour: 2\n", "a.yaml sets colour, which is no setting"),
        ("corpora: [mine]\n", "a.yaml sets corpora, which is the same for all"),
        ("output_dir: there\n", "a.yaml sets output_dir, which is the same for all"),
        ("copies: many\n", "a.yaml sets copies to 'many', which should be a number"),
        ("copies: true\n", "a.yaml sets copies to True, which should be a number"),
        ("class_weights: 1\n", "a.yaml sets class_weights to 1, which should be a switch"),
        ("learning_rate: fast\n", "a.yaml sets learning_rate to 'fast', which should be a number"),
        ("copies=2\n", "a.yaml holds no settings"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, told):
    with pytest.raises(ValueError, match=told):
        read_choices(arguments_of(tmp_path, [written(tmp_path / "a.yaml", text)]))


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    files = [written(folder / "a.yaml", "copies: 1\n") for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(ValueError, match="Two files of choose_from are called a"):
        read_choices(arguments_of(tmp_path, files))


def test_arguments_that_contradict_each_other_are_refused(tmp_path):
    arguments = arguments_of(tmp_path, save_strategy="no", resume_from_checkpoint="runs/checkpoint-3")
    with pytest.raises(ValueError, match="each of the 5 folds .* say true"):
        replace(arguments, held_out=HeldOutArguments(folds=5))
    arguments = arguments_of(tmp_path, save_strategy="no")
    with pytest.raises(ValueError, match="save_strategy no"):
        replace(arguments, held_out=HeldOutArguments(dev_groups=2))
