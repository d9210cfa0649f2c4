"""A training with `--push_to_hub` publishes what recipes/push.py would: the same files, once, and no scratch."""

import pytest
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import load
from trl import TrlParser

from helpers import RECIPES, load_recipe
from hub_server import HubServer, Repo
from transformers_empathav.hub.push import push
from transformers_empathav.hub.push_check import CARRIED, fits


FACTS = "licence: mit\ndatasets:\n  - {name: Tales, id: ann/tales, licence: mit, used_for: adapter}\n"


@pytest.fixture
def hub(monkeypatch):
    """The Hub that this process asks, with the base of what is trained."""
    server = HubServer({"ann's": "ann"})
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)
    server.repos["ann/tiny"] = Repo(private=False)
    server.repos["ann/tiny"].commit("main", {}, "base")
    yield server
    server.close()


def train(name, folder, *options):
    """Runs a recipe from nothing, with a checkpoint and everything else that it may leave."""
    recipe = load_recipe(name)
    groups = {"sft": ("AdapterArguments", "ReplyArguments", "TrainingArguments")}
    groups["epo"] = ("AdapterArguments", "PairArguments", "EPOConfig")
    given = ["--config", RECIPES / "configs" / f"{name}_tiny.yaml", "--output_dir", folder, "--disable_tqdm", "true"]
    given += ["--max_steps", 2, "--save_steps", 1, "--eval_strategy", "no", "--merge", "true", "--push_to_hub", "true"]
    given += ["--hub_model_id", f"ann/{name}", "--hub_token", "ann's", *options]
    parser = TrlParser([getattr(recipe, group) for group in groups[name]])
    recipe.main(*parser.parse_args_and_config([*map(str, given)]))


@pytest.mark.parametrize("name", ["sft", "epo"])
def test_a_training_publishes_what_the_recipe_of_pushing_does(hub, tmp_path, name, capsys):
    (tmp_path / "card.yaml").write_text(FACTS)
    out = tmp_path / "out"
    train(name, out, "--base_model", "ann/tiny", "--facts", tmp_path / "card.yaml")
    tree = hub.tree(f"ann/{name}")
    assert len(hub.repos[f"ann/{name}"].commits) == 2  # the Hub's own and one
    beside = {path.name for path in out.iterdir()} - tree.keys()
    assert {"checkpoint-1", "checkpoint-2", "merged", "tiny", "training_args.bin"} <= beside
    assert all(fits(path, CARRIED) for path in tree.keys() - {".gitattributes"})
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "processor_config.json"} <= tree.keys()
    weights = load(tree["adapter_model.safetensors"].content)
    assert weights and {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    card = tree["README.md"].content.decode()
    assert "license: mit" in card and "ann/tales" in card and f"ann/{name}" in card and "2 steps of" in card

    capsys.readouterr()
    push(out, f"ann/{name}", api=HfApi(token="ann's"))
    assert "nothing to commit" in capsys.readouterr().out and hub.tree(f"ann/{name}") == tree


def test_what_could_not_be_published_is_found_out_before_training(hub, tmp_path):
    (tmp_path / "card.yaml").write_text("licence: mit\n")
    with pytest.raises(ValueError, match="give the Hub id of that checkpoint as `base_model`"):
        train("sft", tmp_path / "out")
    for facts in ([], ["--facts", tmp_path / "card.yaml"]):
        with pytest.raises(ValueError, match="needs a card that says its licence and its data"):
            train("sft", tmp_path / "out", "--base_model", "ann/tiny", *facts)
    (tmp_path / "card.yaml").write_text(FACTS)
    with pytest.raises(ValueError, match="your token may not write to bob"):
        known = ["--base_model", "ann/tiny", "--facts", tmp_path / "card.yaml"]
        train("sft", tmp_path / "out", *known, "--hub_model_id", "bob/sft")
    assert not list((tmp_path / "out").glob("checkpoint-*")) and hub.repos.keys() == {"ann/tiny"}
