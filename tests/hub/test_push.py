"""What a push sends, what it refuses, and what its errors say, against a Hub on this machine."""

import json
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from hub_server import File, HubServer
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.hub.card import write_card
from transformers_empathav.hub.push import push
from transformers_empathav.testing.tiny import tiny_model


FACTS = {"licence": "mit", "datasets": ["ann/tales"]}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The Hub, and a client in this process that may ask it."""
    server = HubServer({"ann's": "ann", "bob's": "bob"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)  # the folder of another test, where this one's code is not
    yield server
    server.close()


@pytest.fixture
def checkpoint(processor, tmp_path) -> Path:
    folder = tmp_path / "tiny"
    tiny_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    write_card(folder, **FACTS)
    return folder


@pytest.fixture
def adapter(checkpoint) -> Path:
    folder = checkpoint.parent / "adapter"
    config = LoraConfig(r=2, target_modules=r"model\.language_model\..*q_proj")
    get_peft_model(EmpathAVForCausalLM.from_pretrained(checkpoint), config).save_pretrained(folder)
    write_card(folder, **FACTS, base_model="ann/tiny")
    return folder


def publish(hub, directory, repo_id="ann/tiny", token="ann's", **options):
    return push(directory, repo_id, api=HfApi(endpoint=hub.url, token=token), **options)


def test_a_dry_run_lists_all_files_with_sizes_and_asks_nobody(hub, checkpoint, capsys):
    assert publish(hub, checkpoint, dry_run=True) is None
    assert hub.requests == []
    listed = {}
    for line in capsys.readouterr().out.splitlines():
        if (words := line.split()) and words[0].replace(",", "").isdigit():
            listed[words[1]] = int(words[0].replace(",", ""))
    there = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
    there["README.md"] -= 2 * (len("USER/NAME") - len("ann/tiny"))
    assert listed == {**there, "bytes": sum(there.values())}


def test_what_is_there_is_what_was_pushed_and_the_card_names_it(hub, checkpoint):
    commit = publish(hub, checkpoint)
    tree = hub.tree("ann/tiny", commit)
    assert hub.repos["ann/tiny"].branches == {"main": commit}
    assert tree.keys() == {".gitattributes", *(path.name for path in checkpoint.iterdir())}
    for path in checkpoint.iterdir():
        text = path.read_bytes().replace(b"USER/NAME", b"ann/tiny")
        assert tree[path.name].content == (text if path.name == "README.md" else path.read_bytes()), path.name
    assert b'from_pretrained("ann/tiny", trust_remote_code=True)' in tree["README.md"].content
    assert tree["model.safetensors"].lfs and not tree["config.json"].lfs


def test_the_same_again_changes_and_sends_nothing(hub, checkpoint, capsys):
    first, sent = publish(hub, checkpoint), list(hub.uploads)
    assert publish(hub, checkpoint) == first and hub.uploads == sent
    assert len(hub.repos["ann/tiny"].commits) == 2  # with the Hub's own first
    assert "nothing to commit" in capsys.readouterr().out


def test_shards_take_the_place_of_the_single_file_that_would_be_read_instead(hub, checkpoint):
    whole = publish(hub, checkpoint)
    hub.repos["ann/tiny"].commits[whole]["picture.png"] = File(b"mine", lfs=False)
    publish(hub, checkpoint, max_shard_size="100KB")
    tree = hub.tree("ann/tiny")
    shards = [name for name in tree if name.endswith(".safetensors")]
    assert len(shards) == 3 and "model.safetensors" not in tree and "picture.png" in tree
    index = json.loads(tree["model.safetensors.index.json"].content)["weight_map"]
    (checkpoint / "shards").mkdir()
    for name in shards:
        (checkpoint / "shards" / name).write_bytes(tree[name].content)
    parts = {name: load_file(checkpoint / "shards" / name) for name in shards}
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        assert torch.equal(parts[index[name]][name], tensor), name


def test_a_branch_is_made_and_main_stays(hub, checkpoint):
    before = publish(hub, checkpoint)
    (checkpoint / "LICENSE").write_text("MIT")
    after = publish(hub, checkpoint, revision="next")
    assert hub.repos["ann/tiny"].branches == {"main": before, "next": after}
    assert "LICENSE" in hub.tree("ann/tiny", "next") and "LICENSE" not in hub.tree("ann/tiny")


def test_private_is_private_or_refused(hub, checkpoint):
    publish(hub, checkpoint, private=True)
    assert hub.repos["ann/tiny"].private
    publish(hub, checkpoint, repo_id="ann/open")
    with pytest.raises(ValueError, match="ann/open is public already"):
        publish(hub, checkpoint, private=True, repo_id="ann/open")


# What is refused before anybody is asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("optimizer.pt", "state of a training: optimizer.pt"),
        ("optimizer.safetensors", "state of a training: optimizer.safetensors"),
        ("memory.safetensors", "memory of a conversation"),
        ("predictions.json", "no part of a checkpoint: predictions.json"),
        ("talks.jsonl", "no part of a checkpoint: talks.jsonl"),
        ("clips/ann.mp4", "no part of a checkpoint: clips"),
        ("asr/ann.wav", "no part of a checkpoint: asr/ann.wav"),
        ("pytorch_model.bin", "run code when they are read"),
    ],
)
def test_what_must_not_be_published_is_named(name, said, hub, checkpoint):
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=said):
        publish(hub, checkpoint)
    assert hub.requests == []


def test_what_a_training_leaves_beside_a_model_stays_here_and_it_says_so(hub, checkpoint, capsys):
    before = {path.name for path in checkpoint.iterdir()}
    folders = ("checkpoint-500/optimizer.pt", "merged/model.safetensors", "ref/adapter_model.safetensors")
    for name in ("training_args.bin", ".gitignore", "preference.json", "runs/events", "tiny/sad.mp4", *folders):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_bytes(b"x")
    publish(hub, checkpoint)
    told = "Left out: .gitignore, checkpoint-500, merged, preference.json, ref, runs, tiny, training_args.bin."
    assert told in capsys.readouterr().out
    assert hub.tree("ann/tiny").keys() == {".gitattributes", *before}


def test_a_bad_card_is_refused(hub, checkpoint):
    card = checkpoint / "README.md"
    card.write_text(card.read_text().replace("license: mit", "license: MIT licence"))
    with pytest.raises(ValueError, match="README.md is not complete .licence 'MIT licence' is no identifier"):
        publish(hub, checkpoint)
    assert hub.requests == []
    card.unlink()
    with pytest.raises(ValueError, match="README.md does not exist: `empathav card"):
        publish(hub, checkpoint)
    assert hub.requests == []


def test_a_licence_that_the_hub_does_not_know_is_refused_by_the_hub(hub, checkpoint):
    card = checkpoint / "README.md"
    card.write_text(card.read_text().replace("license: mit", "license: made-up-1.0"))
    with pytest.raises(ValueError, match="must be one of the licenses"):
        publish(hub, checkpoint)
    assert not hub.uploads and hub.tree("ann/tiny").keys() == {".gitattributes"}


def without_a_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "compressor" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:9999])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_a_tensor, "missing keys"),
        (cut, "does not load"),
        (lambda folder: (folder / "state_space_empathav.py").unlink(), "state_space_empathav"),
        (lambda folder: (folder / "modeling_empathav.py").write_text("class Broken(:"), "does not load"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "does not load"),
        (lambda folder: (folder / "config.json").write_text("{"), "does not load"),
    ],
)
def test_what_does_not_load_is_refused(damage, said, hub, checkpoint):
    damage(checkpoint)
    with pytest.raises(ValueError, match="does not load, so nobody could use it") as error:
        publish(hub, checkpoint)
    assert said in str(error.value)
    assert hub.requests == []


# Adapters


def test_an_adapter_goes_alone_and_names_its_base_on_the_hub(hub, checkpoint, adapter):
    with pytest.raises(ValueError, match="is on this machine alone: push that first"):
        publish(hub, adapter, repo_id="ann/epo")
    with pytest.raises(ValueError, match="ann/tiny, the base of this adapter, is not on the Hub"):
        publish(hub, adapter, base_model="ann/tiny", repo_id="ann/epo")
    assert hub.repos == {}
    publish(hub, checkpoint)
    publish(hub, adapter, base_model="ann/tiny", repo_id="ann/epo")
    tree = hub.tree("ann/epo")
    assert tree.keys() == {".gitattributes", "README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert json.loads(tree["adapter_config.json"].content)["base_model_name_or_path"] == "ann/tiny"
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(checkpoint)
    assert not any(str(checkpoint).encode() in file.content for file in tree.values())


def test_an_adapter_that_does_not_fit_its_base_is_refused(hub, adapter):
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file({key: value for key, value in weights.items() if key != name}, adapter / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="not those of its base"):
        publish(hub, adapter, base_model="ann/tiny")


# What goes wrong on the way


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": False}, "hf auth login"),
        ({"token": "stolen"}, "hf auth login"),
        ({"token": "bob's"}, "your token may not write to ann"),
        ({"repo_id": "tiny"}, "write USER/NAME"),
    ],
)
def test_refusals_of_the_hub_say_what_to_do(options, said, hub, checkpoint):
    with pytest.raises(ValueError, match=said):
        publish(hub, checkpoint, **options)
    assert hub.repos == {}


def test_others_may_not_write_to_what_is_there(hub, checkpoint):
    before = publish(hub, checkpoint)
    (checkpoint / "LICENSE").write_text("MIT")
    with pytest.raises(ValueError, match="your token may not write to ann"):
        publish(hub, checkpoint, token="bob's")
    assert hub.repos["ann/tiny"].branches == {"main": before}


def test_a_private_repository_of_somebody_else_looks_absent(hub, checkpoint):
    publish(hub, checkpoint, private=True)
    with pytest.raises(ValueError, match="your token|no ann/tiny that your token can see"):
        publish(hub, checkpoint, token="bob's")


def test_somebody_elses_commit_meanwhile_is_not_overwritten(hub, checkpoint):
    publish(hub, checkpoint)
    (checkpoint / "LICENSE").write_text("MIT")
    repo, theirs = hub.repos["ann/tiny"], []

    def another(method, path):
        if "/preupload/" in path and not theirs:
            theirs.append(repo.commit("main", {**hub.tree("ann/tiny"), "NOTICE": File(b"theirs", False)}, "theirs"))

    hub.before_answer = another
    with pytest.raises(ValueError, match="somebody else has pushed meanwhile"):
        publish(hub, checkpoint)
    assert repo.branches == {"main": theirs[0]}


def test_without_a_network_or_offline_it_says_so(hub, checkpoint, monkeypatch):
    closed = HubServer({})
    closed.close()
    with pytest.raises(ValueError, match="cannot be reached .* goes on where it stopped"):
        publish(closed, checkpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        publish(hub, checkpoint)
