"""From a push to a reader without this package: real processes, the Hub's own client, a Hub on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from clean_process import run_without
from helpers import encode, relative_error, user, wake
from hub_server import File, HubServer, Repo
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.hub.card import write_card
from transformers_empathav.testing.tiny import tiny_model


ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "push.py"
FACTS = {"licence": "mit", "datasets": ["ann/tales"]}

# What an author does: the recipe twice, its adapter, and the methods of model and processor.
AUTHOR = """
import json, sys
sys.path.insert(0, sys.argv[1])
import push
from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor

def publish(*arguments):
    return push.main(push.parser().parse_args(arguments))

first, second, adapter = sys.argv[2:]
commits = [
    publish(first, "--repo_id", "ann/tiny", "--private", "--max_shard_size", "100KB"),
    publish(second, "--repo_id", "ann/tiny", "--private"),
    publish(adapter, "--repo_id", "ann/epo", "--base_model", "ann/tiny", "--private"),
]
EmpathAVForCausalLM.from_pretrained(first).push_to_hub("ann/plain")
EmpathAVProcessor.from_pretrained(first).push_to_hub("ann/plain")
print(json.dumps(commits))
"""

READER = """
import numpy as np
from peft import PeftModel

first, second, adapter, out = sys.argv[1:]

def logits(model, processor):
    messages = [{"role": "user", "content": "I lost my job."}]
    inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert "EmpathAV" in type(processor).__name__ and "transformers_modules" in type(processor).__module__
    with torch.no_grad():
        return model.eval()(**inputs).logits.numpy()

def loaded(name, **kwargs):
    model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True, **kwargs)
    return model, AutoProcessor.from_pretrained(name, trust_remote_code=True, **kwargs)

base, processor = loaded("ann/tiny", revision=first)
found = {"first": logits(base, processor), "main": logits(*loaded("ann/tiny")), "plain": logits(*loaded("ann/plain"))}
found["alone"] = logits(AutoModelForCausalLM.from_pretrained("ann/epo", trust_remote_code=True), processor)
found["adapter"] = logits(PeftModel.from_pretrained(base, "ann/epo", revision=adapter), processor)
np.savez(out, **found)
"""


@pytest.fixture
def hub():
    server = HubServer({"ann's": "ann"})
    yield server
    server.close()


def at(hub, **environment) -> dict[str, str]:
    """Environment of a process whose Hub is `hub`."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "ann's",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    } | environment


def saved(folder: Path, processor, seed: int) -> Path:
    wake(tiny_model(processor, seed=seed)).save_pretrained(folder)
    processor.save_pretrained(folder)
    write_card(folder, **FACTS)
    return folder


def saved_adapter(folder: Path, base: Path) -> Path:
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=r"model\.language_model\..*[qv]_proj", init_lora_weights=False)
    get_peft_model(EmpathAVForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    write_card(folder, **FACTS, base_model="ann/tiny")
    return folder


def test_a_reader_gets_what_was_pushed_at_the_revision_that_is_pinned(hub, processor, tmp_path):
    first, second = (saved(tmp_path / f"tiny{seed}", processor, seed) for seed in (0, 1))
    adapter = saved_adapter(tmp_path / "adapter", first)
    author = [sys.executable, "-c", AUTHOR, str(RECIPE.parent), str(first), str(second), str(adapter)]
    home = {**os.environ, "HF_HOME": str(tmp_path / "author"), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(author, capture_output=True, text=True, env=home | at(hub))
    assert done.returncode == 0, done.stderr[-3000:]
    commits = json.loads(done.stdout.splitlines()[-1])
    assert sum(name.endswith(".safetensors") for name in hub.tree("ann/tiny", commits[0])) == 3
    assert sum(name.endswith(".safetensors") for name in hub.tree("ann/tiny", "main")) == 1

    (tmp_path / "reader").mkdir()
    out = tmp_path / "found.npz"
    run_without({"transformers_empathav"}, READER, *commits, out, home=tmp_path / "reader", **at(hub))
    found = {name: torch.from_numpy(logits) for name, logits in np.load(out).items()}
    inputs = encode(processor, [user("I lost my job.")])
    with torch.no_grad():
        for name, folder in (("first", first), ("main", second), ("plain", first)):
            expected = EmpathAVForCausalLM.from_pretrained(folder)(**inputs).logits
            assert relative_error(found[name], expected) < 1e-6, name
        for name, folder in (("adapter", first), ("alone", second)):
            tuned = PeftModel.from_pretrained(EmpathAVForCausalLM.from_pretrained(folder), adapter)
            assert relative_error(found[name], tuned(**inputs).logits) < 1e-6, name
    assert relative_error(found["adapter"], found["first"]) > 1e-3
    assert relative_error(found["main"], found["first"]) > 1e-3


def test_a_push_that_is_killed_before_its_commit_shows_nothing_and_the_next_completes(hub, processor, tmp_path):
    older, folder = (saved(tmp_path / name, processor, seed) for seed, name in enumerate(("older", "tiny")))
    repo = hub.repos["ann/tiny"] = Repo(private=False)
    before = {path.name: File(path.read_bytes(), path.suffix == ".safetensors") for path in older.iterdir()}
    first = repo.commit("main", before, "older")
    command = [sys.executable, str(RECIPE), str(folder), "--repo_id", "ann/tiny", "--max_shard_size", "100KB"]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")} | at(hub)
    uploaded, killed = threading.Event(), threading.Event()

    def hold(method, path):
        """Everything is uploaded, and the client waits for the answer to its last check."""
        if path.endswith("/verify") and len(hub.objects) == 3:
            uploaded.set()
            killed.wait()

    hub.before_answer = hold
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert uploaded.wait(300), client.communicate()[1]
    client.send_signal(signal.SIGKILL)
    client.communicate()
    killed.set()
    assert repo.branches == {"main": first} and hub.tree("ann/tiny") == before
    assert not any("/commit/" in path for _, path in hub.requests)

    sent = list(hub.uploads)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert hub.uploads == sent  # what lay there was not sent again
    after = hub.tree("ann/tiny")
    assert len([name for name in after if name.endswith(".safetensors")]) == 3 and "model.safetensors" not in after
    assert after["config.json"].content == (folder / "config.json").read_bytes() != before["config.json"].content
    assert hub.tree("ann/tiny", first) == before
