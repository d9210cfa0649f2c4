"""Replies: batch = single, cached = fresh, resumed = uninterrupted; what of the history is seen."""

import pytest

from helpers import assistant, frames, user
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies.systems import load_system, parse_pair, weights_digest
from transformers_empathav.evaluation.replies.writing import Writing, encode_prompts, shown, write_replies
from transformers_empathav.writers.local import LocalWriter


PROMPTS = [
    [user("hi")],
    [user("I lost my job"), assistant("Oh no."), user("It hurts")],
    [user("a"), assistant("b"), user("c"), assistant("d"), user("e"), assistant("f"), user("g")],
    [user(("video", frames(1)), "look")],
]
SHORT = Writing(max_new_tokens=6)


def test_a_batch_writes_what_single_prompts_write(system, cache, tmp_path):
    together = write_replies(system, PROMPTS, SHORT, cache, batch_size=4)
    alone = write_replies(system, PROMPTS, SHORT, ContentCache(tmp_path / "other.jsonl"), batch_size=1)
    assert together == alone
    assert len({reply["text"] for reply in together}) > 1


def test_it_is_what_generate_writes_greedily(system, cache):
    """Nothing of a sampling's defaults slips in, and the reply begins after the prompt."""
    writing = Writing(max_new_tokens=6, repetition_penalty=1.3)
    for prompt in PROMPTS:
        inputs = encode_prompts(system, [prompt], writing)
        ids = system.model.generate(**inputs, max_new_tokens=6, repetition_penalty=1.3, do_sample=False)
        ids = ids[0, inputs["input_ids"].shape[1] :]
        text = system.processor.decode(ids, skip_special_tokens=True).strip()
        cut = system.model.generation_config.eos_token_id not in ids
        assert write_replies(system, [prompt], writing, cache) == [{"text": text, "cut": cut}]


def test_what_is_cached_is_not_written_again(system, cache, monkeypatch):
    first = write_replies(system, PROMPTS, SHORT, cache)
    monkeypatch.setattr(LocalWriter, "generate", None)
    assert write_replies(system, PROMPTS, SHORT, ContentCache(cache.path)) == first


def test_an_interrupted_run_goes_on_to_the_same_file(system, tmp_path, monkeypatch):
    whole, broken = ContentCache(tmp_path / "whole.jsonl"), ContentCache(tmp_path / "broken.jsonl")
    write_replies(system, PROMPTS, SHORT, whole, batch_size=2)
    real, calls = LocalWriter.generate, []

    def killed(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(LocalWriter, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        write_replies(system, PROMPTS, SHORT, broken, batch_size=2)
    monkeypatch.setattr(LocalWriter, "generate", real)
    with open(broken.path, "ab") as file:
        file.write(b'{"key": "torn')
    write_replies(system, PROMPTS, SHORT, ContentCache(broken.path), batch_size=2)
    assert broken.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize(
    "change", [{"max_new_tokens": 7}, {"repetition_penalty": 1.5}, {"history": "none"}, {"recent_turns": 1}]
)
def test_other_settings_are_other_keys(system, cache, change):
    write_replies(system, PROMPTS, SHORT, cache)
    before = len(cache)
    write_replies(system, PROMPTS, Writing(**{"max_new_tokens": 6, **change}), cache)
    assert len(cache) > before


def test_other_weights_have_another_digest(model):
    before = weights_digest(model)
    assert weights_digest(model) == before
    model.lm_head.weight.data[0, 0] += 1e-3
    assert weights_digest(model) != before


def test_an_adapter_is_a_system_with_a_digest_of_its_own(model, processor, tmp_path):
    from peft import LoraConfig, get_peft_model

    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    base = load_system("base", tmp_path / "base")
    base.model.config._name_or_path = str(tmp_path / "base")
    layers = r"model\.language_model\..*\.(q_proj|v_proj)"
    adapted = get_peft_model(base.model, LoraConfig(target_modules=layers, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    bare, tuned = (load_system(name, tmp_path / name) for name in ("base", "adapter"))
    assert bare.digest != tuned.digest
    caches = (ContentCache(tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
    first, second = (write_replies(one, PROMPTS, SHORT, cache) for one, cache in zip((bare, tuned), caches))
    assert first != second


def test_history_shows_words_vectors_or_nothing(system):
    prompt = [{"role": "system", "content": "Be kind."}, *PROMPTS[2]]
    assert shown(prompt, "none", 2) == ([prompt[0], *prompt[-2:]], 2)
    memory, none, full = (
        encode_prompts(system, [prompt], Writing(history=history, recent_turns=2))
        for history in ("memory", "none", "full")
    )
    assert "history_input_ids" in memory and "history_input_ids" not in none and "history_input_ids" not in full
    assert none["input_ids"].shape[1] < memory["input_ids"].shape[1] < full["input_ids"].shape[1]


def test_a_reply_that_did_not_end_is_marked(system, cache):
    assert all(reply["cut"] for reply in write_replies(system, [PROMPTS[0]], Writing(max_new_tokens=1), cache))


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="memory, none or full"):
        Writing(history="some")
    with pytest.raises(ValueError, match="name=model"):
        parse_pair("runs/sft")
    assert parse_pair("sft=runs/a=b") == ("sft", "runs/a=b")
