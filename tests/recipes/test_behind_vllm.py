"""The language model behind an engine that takes prompt embeddings: the same replies, from a stand-in for vLLM."""

import json

import openai
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from clips import write_clip
from helpers import assistant, load_recipe, short_labels, user, wake
from prompt_embeds_server import prompt_embeds_server
from transformers_empathav.checkpoint.loading import load_checkpoint
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.lora import language_model_lora


HISTORY = [user("My dog died."), assistant("I am sorry."), user("He was old."), assistant("Still."), user("Yes.")]
HISTORY += [assistant("Tell me."), user("He liked the sea."), assistant("And you?")]
TOKENS = 12
NAMES = ("base", "tuned")


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("examples/behind_vllm")


@pytest.fixture(scope="module")
def work(tmp_path_factory, processor, recipe):
    """A checkpoint and an adapter, and what is exported of them."""
    folder = tmp_path_factory.mktemp("work")
    short_labels(wake(tiny_model(processor))).save_pretrained(folder / "checkpoint")
    processor.save_pretrained(folder / "checkpoint")
    adapted = get_peft_model(load_checkpoint(folder / "checkpoint", "cpu")[0], language_model_lora(r=4))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    adapted.save_pretrained(folder / "adapter")
    recipe.export(folder / "checkpoint", folder / "plain")
    recipe.export_adapter(folder / "adapter", folder / "plain_adapter")
    return folder


@pytest.fixture(scope="module")
def engine(work):
    """Knows nothing but the exported directories."""
    base = AutoModelForCausalLM.from_pretrained(work / "plain")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(work / "plain"), work / "plain_adapter")
    with prompt_embeds_server({"base": base, "tuned": tuned}, AutoTokenizer.from_pretrained(work / "plain")) as server:
        yield server


def written(model, processor, messages: list[dict], memory=None) -> str:
    """The reply as `generate` writes it here."""
    inputs = processor.apply_chat_template(
        messages, memory=memory, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ids = model.generate(**inputs, memory=memory, max_new_tokens=TOKENS, do_sample=False)[0]
    return processor.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("name", NAMES)
def test_replies_are_those_of_generate(work, engine, recipe, name, tmp_path):
    model, processor = load_checkpoint(work / "checkpoint", "cpu")
    if name == "tuned":
        model = PeftModel.from_pretrained(model, work / "adapter").merge_and_unload()
    client = openai.OpenAI(base_url=engine.url, api_key="none", max_retries=0)
    clip = {"type": "video", "path": str(write_clip(tmp_path / "clip.mp4", seconds=1))}
    asked = {"role": "user", "content": [clip, {"type": "text", "text": "I miss him."}]}
    memory = model.compress(**processor.encode_history(HISTORY))
    found = []
    for messages, remembered in (
        ([asked], None),
        ([*HISTORY, asked], None),
        ([asked], memory),
        (HISTORY[-2:-1], None),
    ):
        found.append(recipe.reply(client, name, model, processor, messages, remembered, max_tokens=TOKENS))
        assert found[-1] == written(model, processor, messages, remembered)
    assert len(set(found)) == len(found)  # clips, history and memory count


def test_the_adapter_counts(work, engine, recipe):
    plain, processor = load_checkpoint(work / "checkpoint", "cpu")
    client = openai.OpenAI(base_url=engine.url, api_key="none", max_retries=0)
    replies = {recipe.reply(client, name, plain, processor, HISTORY[:1], max_tokens=TOKENS) for name in NAMES}
    assert len(replies) == 2


def test_from_the_command_line(work, engine, recipe, tmp_path):
    history = tmp_path / "history.json"
    history.write_text(json.dumps(HISTORY))
    command = ["ask", str(work / "checkpoint"), "I miss him.", "--history", str(history), "--url", engine.url]
    result = CliRunner().invoke(recipe.app, [*command, "--model", "base"])
    assert result.exit_code == 0, result.output
    body = engine.bodies[-1]
    assert body["prompt"] is None and body["max_tokens"] == 96 and len(body["logit_bias"]) == 2


def test_an_adapter_with_projections_is_refused(work, recipe, tmp_path, processor):
    adapted = get_peft_model(
        tiny_model(processor), language_model_lora(r=4, projections=["extractor.embedding_projection"])
    )
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="lies outside of the language model: merge the adapter"):
        recipe.export_adapter(tmp_path / "adapter", tmp_path / "exported")
