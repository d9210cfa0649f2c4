"""`empathav respond --memory`: a memory is answered whatever its length, checked, and never loses an exchange."""

import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from command import answered, contents, refused, respond
from transformers_empathav import ConversationMemory
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.conversation_file import peek


def long_memory(model, processor, folder, **fields) -> ConversationMemory:
    """A conversation of 600 utterances, 1,200 vectors, where the language model has 2,048 positions."""
    messages = [{"role": ("user", "assistant")[turn % 2], "content": f"{turn}"} for turn in range(600)]
    memory = replace(model.compress(**processor.encode_history(messages)), **fields)
    memory.save_pretrained(folder)
    return memory


@pytest.mark.parametrize("budget", [None, 10**6])
def test_a_memory_that_grew_without_a_budget_is_answered_and_merged(budget, checkpoint, tmp_path, model, processor):
    long_memory(model, processor, tmp_path, max_vectors=budget)
    for turn in range(1, 5):
        figures = answered(checkpoint, "--text", "Hello", "--memory", tmp_path)["memory"]
        assert figures["vectors"] <= 1024 and figures["utterances"] == 600 + 2 * turn
    assert peek(tmp_path)[0].max_vectors == 1024


def test_a_budget_that_is_asked_for_holds_for_a_memory_with_another(checkpoint, tmp_path, model, processor):
    long_memory(model, processor, tmp_path, max_vectors=500)
    assert 250 < answered(checkpoint, "--text", "Hello", "--memory", tmp_path)["memory"]["vectors"] <= 500
    figures = answered(checkpoint, "--text", "Hello", "--memory", tmp_path, "--max-vectors", "8")["memory"]
    assert figures["vectors"] <= 8 and figures["utterances"] == 604
    for budget in ("3", "9" * 30):
        assert f"max_vectors={budget}" in refused(checkpoint, "--text", "Hello", "--max-vectors", budget)


def test_a_memory_that_contradicts_itself_is_refused_and_left(checkpoint, tmp_path, model, processor):
    long_memory(model, processor, tmp_path)
    tensors = load_file(tmp_path / "memory.safetensors")
    tensors["turns"][0, -2:] = 5000
    settings = {"format_version": "2", "vectors_per_utterance": "2", "max_vectors": "", "fingerprint": ""}
    save_file(tensors, tmp_path / "memory.safetensors", settings)
    before = contents(tmp_path)
    assert "leave out utterances" in refused(checkpoint, "--text", "Hello", "--memory", tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("there", [True, False])
def test_an_exchange_that_was_remembered_meanwhile_is_not_lost(there, checkpoint, tmp_path, monkeypatch):
    if there:
        answered(checkpoint, "--text", "Hello", "--memory", tmp_path)
    say, meanwhile = Conversation.say, []

    def interrupted(self, *args, **options):
        reply = say(self, *args, **options)
        if not meanwhile:
            meanwhile.append(True)
            answered(checkpoint, "--text", "Me first!", "--memory", tmp_path)
        return reply

    monkeypatch.setattr(Conversation, "say", interrupted)
    result = respond(checkpoint, "--text", "Me too!", "--memory", tmp_path, "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)["transcript"] == "Me too!"
    assert "does not hold this exchange" in result.stderr and "written by someone else" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(peek(tmp_path)[1]) == (4 if there else 2)
    figures = answered(checkpoint, "--text", "Me too!", "--memory", tmp_path)["memory"]
    assert figures["utterances"] == (6 if there else 4)
