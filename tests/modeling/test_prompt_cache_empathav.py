"""Keys and values kept between turns: the same logits, less work, and no trust in what has changed."""

import pytest
import torch
from transformers import DynamicCache, GenerationConfig

from helpers import assistant, encode, relative_error, sound, user, wake
from transformers_empathav import PromptCache
from transformers_empathav.modeling.generation_empathav import CACHE, MEDIA_INPUTS
from transformers_empathav.testing.families import tiny_llm_config
from transformers_empathav.testing.tiny import tiny_model


OPTIONS = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}


def play(model, processor, cache, turns, memory=None):
    """Answers a conversation turn by turn, memory growing; gives the logits of each turn and the tokens computed."""
    logits, computed = [], []
    language_model = model.model.language_model
    forward = language_model.forward

    def spy(**kwargs):
        computed.append(kwargs["inputs_embeds"].shape[1])
        return forward(**kwargs)

    language_model.forward = spy
    for text in turns:
        message = user(("audio", sound(len(logits))), text)
        inputs = encode(processor, [{"role": "system", "content": "Be kind."}, message], memory=memory)
        if memory is None:  # a conversation without memory yet has no place for one
            inputs = encode(processor, [{"role": "system", "content": "Be kind."}, message])
        start = len(computed)
        written = model.generate(**inputs, memory=memory, prompt_cache=cache, **OPTIONS)
        logits.append(torch.stack(written.logits))
        computed[start:] = [sum(computed[start:])]
        memory = model.compress(**processor.encode_history([user(text), assistant("I see")]), memory=memory)
    language_model.forward = forward
    return logits, computed


def test_the_same_logits_with_fewer_tokens(model, processor):
    turns = ["one", "two words", "and three of them", "bye"]
    plain, plain_work = play(model, processor, None, turns)
    kept, kept_work = play(model, processor, PromptCache(), turns)
    for one, other in zip(kept, plain):
        assert relative_error(one, other) < 1e-4
    assert kept_work[0] == plain_work[0]
    assert all(less < more for less, more in zip(kept_work[1:], plain_work[1:]))


def test_a_conversation_that_grows_reads_only_what_is_new(model, processor):
    """Messages, clips and replies stay as they were said; the reply's tokens are in the cache, too."""
    cache, said, before, vectors = PromptCache(), [], 0, []
    for turn, text in enumerate(("one", "two words", "bye")):
        said.append(user(("audio", sound(turn)), text))
        heard = {name: value for name, value in encode(processor, said[-1:]).items() if name in MEDIA_INPUTS}
        vectors.append(model.get_av_features(**heard).detach())
        prompt = encode(processor, said, recent_turns=99)
        inputs = {name: prompt[name] for name in ("input_ids", "attention_mask")} | {"av_embeds": torch.cat(vectors)}
        kept = model.generate(**inputs, prompt_cache=cache, **OPTIONS)
        plain = model.generate(**inputs, **OPTIONS)
        assert relative_error(torch.stack(kept.logits), torch.stack(plain.logits)) < 1e-4
        assert cache.reused >= before
        before = inputs["input_ids"].shape[1]
        said.append(assistant(processor.decode(kept.sequences[0, before:], skip_special_tokens=True)))


def test_another_clip_at_the_same_place_is_read_anew(model, processor):
    cache = PromptCache()
    for seed in (1, 2):
        inputs = encode(processor, [user(("audio", sound(seed)), "hi"), assistant("Oh"), user("Well?")])
        kept = model.generate(**inputs, prompt_cache=cache, **OPTIONS)
        plain = model.generate(**inputs, **OPTIONS)
        assert relative_error(torch.stack(kept.logits), torch.stack(plain.logits)) < 1e-4
    assert cache.reused <= inputs["input_ids"][0].tolist().index(model.config.av_token_id)


def test_a_budget_that_merges_old_vectors_does_no_harm(model, processor):
    turns = ["one", "two words", "and three of them", "four", "five", "bye"]
    plain, _ = play(model, processor, None, turns, model.empty_memory(max_vectors=8))
    kept, _ = play(model, processor, PromptCache(), turns, model.empty_memory(max_vectors=8))
    for one, other in zip(kept, plain):
        assert relative_error(one, other) < 1e-4


def test_another_conversation_in_between_does_no_harm(model, processor):
    cache = PromptCache()
    for text in ("my dog died", "we won the cup"):
        memory = model.compress(**processor.encode_history([user(text), assistant("Oh")]))
        inputs = encode(processor, [user("and now?")], memory=memory)
        with_cache = model.generate(**inputs, memory=memory, prompt_cache=cache, **OPTIONS)
        without = model.generate(**inputs, memory=memory, **OPTIONS)
        assert relative_error(torch.stack(with_cache.logits), torch.stack(without.logits)) < 1e-4


@pytest.mark.parametrize("family", ["Qwen3-Next", "LFM2", "Jamba", "Mistral"])
def test_layers_that_cannot_go_back_do_no_harm(processor, family):
    """Recurrent states cannot be cropped, and a sliding window forgets: that of this Mistral is 16 tokens."""
    model = wake(tiny_model(processor, text_config=tiny_llm_config(family)))
    turns = ["one", "two words", "and three of them"]
    plain, plain_work = play(model, processor, None, turns)
    kept, kept_work = play(model, processor, PromptCache(), turns)
    for one, other in zip(kept, plain):
        assert relative_error(one, other) < 1e-4
    assert (kept_work == plain_work) == (family != "Mistral")


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_a_kept_cache_of_transformers_reads_only_the_new_clips(model, processor, name):
    """The usual way to keep a cache, under either name: the last call's, and the whole conversation again."""
    first = encode(processor, [user(("audio", sound(1)), "hi")])
    written = model.generate(**first, return_dict_in_generate=True, max_new_tokens=3, do_sample=False)
    reply = processor.decode(written.sequences[0, first["input_ids"].shape[1] :])
    talk = [user(("audio", sound(1)), "hi"), assistant(reply), user(("audio", sound(2)), "again")]
    both = encode(processor, talk)
    prefix = written[CACHE].get_seq_length()
    if not torch.equal(both["input_ids"][:, :prefix], written.sequences[:, :prefix]):
        both["input_ids"][:, :prefix] = written.sequences[:, :prefix]
    cached = model.generate(**both, **{name: written[CACHE]}, **OPTIONS)
    assert relative_error(torch.stack(cached.logits), torch.stack(model.generate(**both, **OPTIONS).logits)) < 1e-4


def test_a_cache_is_given_once(model, processor):
    inputs = encode(processor, [user("hi")])
    with pytest.raises(ValueError, match="two names"):
        model.generate(**inputs, cache=DynamicCache(), past_key_values=DynamicCache(), **OPTIONS)
    with pytest.raises(ValueError, match="not both"):
        model.generate(**inputs, cache=DynamicCache(), prompt_cache=PromptCache(), **OPTIONS)


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_a_forward_continues_a_cache_by_either_name(model, processor, name):
    ids = encode(processor, [user("hello there")])["input_ids"]
    whole, first = model(ids).logits, model(ids[:, :-3], use_cache=True)
    rest = model(ids[:, -3:], **{name: first[CACHE]}).logits
    assert relative_error(rest, whole[:, -3:]) < 1e-4


def test_an_interrupted_reply_leaves_nothing_false_behind(model, processor, monkeypatch):
    """A, then B that is interrupted in its prefill, then A again."""
    cache, talks = PromptCache(), {}
    for text in ("my dog died", "we won the cup"):
        memory = model.compress(**processor.encode_history([user(text), assistant("Oh")]))
        talks[text] = {**encode(processor, [user("and now?")], memory=memory), "memory": memory}
    first, other = talks.values()
    model.generate(**first, prompt_cache=cache, **OPTIONS)

    class Interrupt:
        def put(self, value):
            if value.numel() == 1:
                raise KeyboardInterrupt

        def end(self):
            pass

    with pytest.raises(KeyboardInterrupt):
        model.generate(**other, prompt_cache=cache, streamer=Interrupt(), max_new_tokens=4, do_sample=False)
    again = model.generate(**first, prompt_cache=cache, **OPTIONS)
    fresh = model.generate(**first, **OPTIONS)
    assert relative_error(torch.stack(again.logits), torch.stack(fresh.logits)) < 1e-4


def test_it_belongs_to_one_row_without_beams(model, processor):
    two = encode(processor, [user("a")], [user("b")])
    with pytest.raises(ValueError, match="one conversation"):
        model.generate(**two, prompt_cache=PromptCache())
    with pytest.raises(ValueError, match="without beams"):
        model.generate(**encode(processor, [user("a")]), prompt_cache=PromptCache(), num_beams=2)
    with pytest.raises(ValueError, match="without beams"):
        beams = GenerationConfig(num_beams=2)
        model.generate(**encode(processor, [user("a")]), prompt_cache=PromptCache(), generation_config=beams)
