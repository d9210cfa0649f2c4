"""The recipe of response tuning: from nothing to a model that answers, JSON lines, and replies on demand."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoProcessor
from trl import TrlParser

from helpers import load_recipe
from transformers_empathav.testing.conversations import save_tiny_checkpoint


ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "configs"
TALK = [
    {"role": "user", "content": "I lost my job", "emotion": "sad"},
    {"role": "assistant", "content": "Oh no, I am so sorry", "emotion": "sad"},
    {"role": "user", "content": "Thank you"},
    {"role": "assistant", "content": "Of course"},
]


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("sft")


def parse(recipe, *arguments):
    parser = TrlParser((recipe.AdapterArguments, recipe.ReplyArguments, recipe.TrainingArguments))
    return parser.parse_args_and_config([*map(str, arguments)])


def test_from_nothing_to_a_model_that_answers(recipe, tmp_path):
    tiny = CONFIGS / "sft_tiny.yaml"
    recipe.main(*parse(recipe, "--config", tiny, "--output_dir", tmp_path, "--disable_tqdm", "true"))
    log = json.loads((tmp_path / "checkpoint-12" / "trainer_state.json").read_text())["log_history"]
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses[-1] < losses[0] - 0.5 and [line for line in log if "eval_loss" in line]
    model, processor = AutoModelForCausalLM.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    inputs = processor.apply_chat_template([TALK[:1]], add_generation_prompt=True, tokenize=True, return_dict=True)
    assert model.generate(**inputs, max_new_tokens=3).shape[1] > inputs["input_ids"].shape[1]
    assert "sft" in (tmp_path / "README.md").read_text()


def test_json_lines_of_ones_own_and_the_emotion_of_the_reply_in_the_prompt(recipe, tmp_path, monkeypatch):
    save_tiny_checkpoint(tmp_path / "tiny")
    talks = [json.dumps({"id": name, "messages": TALK}) + "\n" for name in ("one", "another")]
    (tmp_path / "talks.jsonl").write_text("".join(talks))
    options = ["--checkpoint", tmp_path / "tiny", "--corpora", tmp_path / "talks.jsonl"]
    options += ["--output_dir", tmp_path / "out", "--eval_strategy", "steps", "--eval_steps", 1]
    options += ["--llm_dtype", "float32", "--max_steps", 1, "--use_cpu", "true", "--report_to", "none"]
    options += ["--remove_unused_columns", "false", "--save_strategy", "no", "--disable_tqdm", "true"]
    options += ["--emotion_tags", "true"]
    recipe.main(*parse(recipe, *options))
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    # One talk is trained on and one evaluated. One reply of each has no label: a classifier names its emotion.
    asked = []
    monkeypatch.setattr(recipe, "EmotionScorer", lambda path: lambda texts: asked.extend(texts) or happy(texts))
    recipe.main(*parse(recipe, *options, "--tag_scorer", "any"))
    assert asked == ["Of course"] * 2


def happy(texts):
    return np.eye(7)[[3] * len(texts)]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("sft_*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_are_understood(recipe, path):
    adapter, _, training = parse(recipe, "--config", path, "--use_cpu", "true")
    assert not training.remove_unused_columns and (adapter.tiny or adapter.checkpoint)
