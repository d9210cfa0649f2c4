"""The recipe of EPO as users run it: from nothing to a model that answers, on two processes, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoProcessor
from trl import TrlParser

from helpers import encode, load_recipe
from pairs import pair
from transformers_empathav.testing.conversations import save_tiny_checkpoint


ROOT = Path(__file__).parents[2]
RECIPE, CONFIGS = ROOT / "recipes" / "epo.py", ROOT / "recipes" / "configs"
TINY = CONFIGS / "epo_tiny.yaml"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SHORT = ("--max_steps", "4", "--eval_strategy", "no", "--report", "false", "--save_strategy", "no")


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("epo")


def parse(recipe, *arguments):
    given = ["--config", str(TINY), "--disable_tqdm", "true", *map(str, arguments)]
    return TrlParser((recipe.AdapterArguments, recipe.PairArguments, recipe.EPOConfig)).parse_args_and_config(given)


def command(launcher, *arguments):
    return [sys.executable, "-m", *launcher, str(RECIPE), "--config", str(TINY), "--disable_tqdm", "true", *arguments]


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_from_nothing_to_a_model_that_answers(tmp_path):
    launcher = ["accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    done = subprocess.run(
        command(launcher, "--output_dir", str(tmp_path / "out"), "--merge", "true"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "out" / "checkpoint-12" / "trainer_state.json").read_text())["log_history"]
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses[-1] < 0.5 * losses[0] and losses == sorted(losses, reverse=True)
    assert weights(tmp_path / "out") and (tmp_path / "out" / "README.md").is_file()
    report = json.loads((tmp_path / "out" / "preference.json").read_text())
    assert report["after"]["pairs"]["reward"]["accuracy"] > report["before"]["pairs"]["reward"]["accuracy"]
    for folder in (tmp_path / "out", tmp_path / "out" / "merged"):
        model, processor = AutoModelForCausalLM.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
        clip = str(tmp_path / "out" / "tiny" / "clips" / "sad.mp4")
        message = {"role": "user", "content": [{"type": "video", "path": clip}, {"type": "text", "text": "Oh"}]}
        inputs = encode(processor, [message])
        assert (
            model.generate(**inputs, max_new_tokens=3, min_new_tokens=3).shape[1] == inputs["input_ids"].shape[1] + 3
        )


def test_two_processes_are_one_with_twice_the_batch(recipe, tmp_path):
    launcher = ["torch.distributed.run", "--nproc_per_node", "2"]
    options = ("--max_steps", "4", "--save_steps", "4", "--eval_strategy", "no", "--report", "false")
    two = (*options, "--output_dir", str(tmp_path / "two"), "--per_device_train_batch_size", "4")
    done = subprocess.run(command(launcher, *two), capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    recipe.main(*parse(recipe, *options, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", 8))
    one, two = (weights(tmp_path / name / "checkpoint-4") for name in ("one", "two"))
    assert all(torch.allclose(tensor, two[name], rtol=0, atol=1e-5) for name, tensor in one.items())
    first = torch.load(tmp_path / "one" / "checkpoint-4" / "optimizer.pt")["state"]
    assert max(float(state["exp_avg"].abs().max()) for state in first.values()) > 1e-3  # there was something to learn


def test_killed_and_resumed_it_is_the_uninterrupted_run(recipe, tmp_path):
    options = ("--eval_strategy", "no", "--report", "false", "--save_steps", "2", "--max_steps", "8")
    launcher = ["accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    process = subprocess.Popen(
        command(launcher, *options, "--output_dir", str(tmp_path / "killed")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "killed" / "checkpoint-2" / "trainer_state.json").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "adapter_model.safetensors").is_file()
    recipe.main(*parse(recipe, *options, "--output_dir", tmp_path / "killed", "--resume_from_checkpoint", "true"))
    recipe.main(*parse(recipe, *options, "--output_dir", tmp_path / "whole"))
    killed, whole = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(killed[name], tensor) for name, tensor in whole.items())


def test_json_lines_and_a_cache_of_features(recipe, tmp_path):
    recipe.main(*parse(recipe, *SHORT, "--output_dir", tmp_path / "made", "--max_steps", 1))
    clip = str(tmp_path / "made" / "tiny" / "clips" / "sad.mp4")
    rows = [pair("a", [{"type": "video", "path": clip}], emotional_distance=0.5), pair("b", emotional_distance=0.1)]
    rows[1]["prompt"][0]["content"] = "plain words"
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--tiny", "false", "--checkpoint", tmp_path / "made" / "tiny", "--pairs", tmp_path / "pairs.jsonl")
    options += ("--cache", tmp_path / "cache", "--eval_pairs", f"own={tmp_path / 'pairs.jsonl'}")
    recipe.main(*parse(recipe, *SHORT, *options, "--output_dir", tmp_path / "out", "--report", "true"))
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    assert json.loads((tmp_path / "out" / "preference.json").read_text())["after"].keys() == {"own"}
    (tmp_path / "broken.jsonl").write_text(json.dumps(rows[0]) + '\n{"prompt": []}\n')
    with pytest.raises(ValueError, match="broken.jsonl, line 2 is no pair"):
        recipe.main(*parse(recipe, *options, "--pairs", tmp_path / "broken.jsonl", "--output_dir", tmp_path / "no"))


def test_pairs_of_ones_own_without_what_the_configuration_says_of_others(recipe, tmp_path):
    save_tiny_checkpoint(tmp_path / "tiny")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair(name)) + "\n" for name in "abc"))
    given = ["--config", CONFIGS / "epo_smollm2-135m.yaml", "--checkpoint", tmp_path / "tiny", "--max_steps", 1]
    given += ["--pairs", tmp_path / "pairs.jsonl", "--output_dir", tmp_path / "out", "--report_to", "none"]
    given += ["--llm_dtype", "float32", "--bf16", "false", "--save_strategy", "no", "--disable_tqdm", "true"]
    parser = TrlParser((recipe.AdapterArguments, recipe.PairArguments, recipe.EPOConfig))

    def run(*options):
        adapter, data, training = parser.parse_args_and_config([*map(str, [*given, *options])])
        adapter.adapter = None  # that of runs/sft
        recipe.main(adapter, data, training)

    with pytest.raises(ValueError, match="There are no pairs at runs/pairs_dev/counter_emotional"):
        run()
    with pytest.raises(ValueError, match="or say `--report false`"):
        run("--eval_pairs", "none")
    with pytest.raises(ValueError, match="'emotional_distance' is missing.* leave out the option"):
        run("--eval_pairs", "none", "--report", "false")
    own = ("--eval_pairs", "none", "--report", "false", "--weight_column", "none", "--eval_strategy", "steps")
    run(*own, "--eval_steps", 1)
    assert weights(tmp_path / "out")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[ed]po_*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_are_understood(recipe, path):
    parser = TrlParser((recipe.AdapterArguments, recipe.PairArguments, recipe.EPOConfig))
    # Precisions of a GPU are refused where there is none.
    adapter, _, training = parser.parse_args_and_config(["--config", str(path), "--use_cpu", "true"])
    assert training.check_modalities and (adapter.tiny or adapter.checkpoint)
