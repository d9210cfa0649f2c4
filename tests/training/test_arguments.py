"""Arguments that training recipes share: how a checkpoint is loaded, groups of options, where a run goes on."""

from dataclasses import dataclass, field

import pytest
import torch
from transformers import TrainingArguments

from transformers_empathav.testing.conversations import save_tiny_checkpoint
from transformers_empathav.training.adapters import AdapterArguments
from transformers_empathav.training.arguments import ModelArguments, evaluated, parse_groups, resume_from, resumes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("arguments") / "tiny"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_checkpoint_is_loaded_frozen_in_its_type_and_attention(checkpoint, dtype):
    model, processor = ModelArguments(checkpoint, dtype, "eager").load()
    assert {parameter.dtype for parameter in model.model.language_model.parameters()} == {getattr(torch, dtype)}
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not model.training
    assert model.model.language_model.config._attn_implementation == "eager"
    assert processor.av_token_id == model.config.av_token_id


def test_what_cannot_be_loaded_says_why(tmp_path):
    for kind in (ModelArguments, AdapterArguments):
        with pytest.raises(ValueError, match="llm_dtype is 'half'.*bfloat16, float16, float32"):
            kind("any", llm_dtype="half")
    with pytest.raises(ValueError, match="give one under `checkpoint`"):
        ModelArguments().load()
    with pytest.raises(FileNotFoundError, match="empathav assemble"):
        ModelArguments(str(tmp_path / "nowhere")).load()


@dataclass
class Fruit:
    apples: int = 1
    kinds: list[str] = field(default_factory=list)


@dataclass
class Basket:
    model: ModelArguments
    fruit: Fruit


def test_options_of_groups_are_flat_in_yaml_and_on_the_command_line(tmp_path):
    (tmp_path / "config.yaml").write_text("checkpoint: there\napples: 2\nkinds: [gala, fuji]\n")
    given = parse_groups(Basket, ["--config", str(tmp_path / "config.yaml"), "--apples", "3"])
    assert given == Basket(ModelArguments("there"), Fruit(3, ["gala", "fuji"]))
    (tmp_path / "config.yaml").write_text("pears: 2\n")
    with pytest.raises(ValueError, match="pears"):
        parse_groups(Basket, ["--config", str(tmp_path / "config.yaml")])


def test_where_a_run_goes_on(tmp_path):
    arguments = TrainingArguments(str(tmp_path / "out"), use_cpu=True)
    assert resume_from(arguments) is None and not resumes(arguments)
    arguments.resume_from_checkpoint = "true"
    assert resume_from(arguments) is None and resumes(arguments)  # nothing is there: a first run
    arguments.resume_from_checkpoint = "elsewhere"  # complete ones are in test_checkpoints.py
    with pytest.raises(ValueError, match="A run cannot go on from elsewhere: there is no such directory"):
        resume_from(arguments)
    arguments.resume_from_checkpoint = "false"
    assert resume_from(arguments) is None and not resumes(arguments)


def test_where_there_is_nothing_to_evaluate_it_is_said_and_switched_off(tmp_path, caplog):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, eval_strategy="steps", eval_steps=5)
    assert evaluated(arguments, [1], "rows") == [1] and arguments.eval_strategy == "steps"
    assert evaluated(arguments, [], "rows") is None and arguments.eval_strategy == "no"
    assert evaluated(arguments, {}, "pairs") is None
    assert caplog.text.count("no rows") == 1 and "no pairs" not in caplog.text
