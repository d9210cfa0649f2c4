"""The model as a whole: what it adds to its language model, and what it must not change."""

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, LlamaForCausalLM

from helpers import assistant, encode, frames, relative_error, sound, user
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.testing.tiny import tiny_model


def mixed_conversations():
    """Rows with everything, sound alone, frames alone, two clips, text alone, history alone."""
    older = [
        user("I lost my job", emotion="sad"),
        assistant("I am sorry"),
        user("They gave no reason"),
        assistant("Oh"),
    ]
    return [
        [*older, user(("video", frames(1)), "what now?")],
        [user(("audio", sound(2)), "can you hear it?")],
        [user(("video", frames(3)), "look")],
        [user(("audio", sound(4)), ("video", frames(5)), "two of them")],
        [user("only words")],
        [*older[:2], user("hm"), assistant("yes?"), user("nothing")],
    ]


@pytest.fixture
def mixed(processor):
    return encode(processor, *mixed_conversations(), recent_turns=2)


def next_logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits[:, -1]


def test_text_alone_gives_exactly_the_logits_of_the_language_model(model):
    bare = LlamaForCausalLM(model.config.text_config).eval()
    bare.model.load_state_dict(model.model.language_model.state_dict())
    bare.lm_head.load_state_dict(model.lm_head.state_dict())
    input_ids = torch.randint(4, model.config.text_config.vocab_size, (3, 17))
    with torch.no_grad():
        assert torch.equal(model(input_ids).logits, bare(input_ids).logits)


def test_a_batch_of_mixed_rows_equals_its_rows(model, processor, mixed):
    together = next_logits(model, mixed)
    for row, conversation in enumerate(mixed_conversations()):
        alone = next_logits(model, encode(processor, conversation, recent_turns=2))
        assert relative_error(together[row : row + 1], alone) < 1e-4, row


def test_generation_of_a_batch_equals_that_of_its_rows(model, processor, mixed):
    together = model.generate(**mixed, max_new_tokens=8, do_sample=False, eos_token_id=None)
    for row, conversation in enumerate(mixed_conversations()):
        inputs = encode(processor, conversation, recent_turns=2)
        alone = model.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=None)
        assert together[row, -8:].tolist() == alone[0, -8:].tolist(), row


def test_cached_decoding_equals_uncached(model, mixed):
    options = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    cached = model.generate(**mixed, use_cache=True, **options)
    uncached = model.generate(**mixed, use_cache=False, **options)
    assert torch.equal(cached.sequences, uncached.sequences)
    assert relative_error(torch.stack(cached.logits), torch.stack(uncached.logits)) < 1e-4


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_a_swapped_clip_changes_the_logits(model, processor, kind):
    make = {"audio": sound, "video": frames}[kind]
    one, other = (next_logits(model, encode(processor, [user((kind, make(seed)), "hi")])) for seed in (1, 2))
    assert relative_error(one, other) > 1e-3


def test_a_swapped_history_changes_the_logits(model, processor):
    rows = [[user(text), assistant("ok"), user("hi")] for text in ("my dog died", "we won the cup")]
    one, other = (next_logits(model, encode(processor, row, recent_turns=1)) for row in rows)
    assert relative_error(one, other) > 1e-3


def test_new_vectors_are_harmless_before_training(processor):
    """At initialisation the vectors of any two clips say nearly the same."""
    model = tiny_model(processor)
    one, other = (encode(processor, [user(("audio", sound(seed)), "hi")]) for seed in (1, 2))
    vectors = [model.get_av_features(input_features=inputs["input_features"]) for inputs in (one, other)]
    assert relative_error(*vectors) < 0.1


def test_beams_keep_their_own_clip(model, processor, mixed):
    options = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    together = model.generate(**mixed, **options)
    for row, conversation in enumerate(mixed_conversations()):
        alone = model.generate(**encode(processor, conversation, recent_turns=2), **options)
        assert together[row, -6:].tolist() == alone[0, -6:].tolist(), row


def test_every_returned_sequence_reads_the_clip_of_its_row(model, mixed):
    torch.manual_seed(0)
    spied = []
    embed = model.model.language_model.forward
    model.model.language_model.forward = lambda **kwargs: spied.append(kwargs["inputs_embeds"]) or embed(**kwargs)
    model.generate(**mixed, num_return_sequences=2, do_sample=True, max_new_tokens=2)
    prefill = spied[0]
    assert torch.equal(prefill[0::2], prefill[1::2])


def test_generate_never_emits_placeholders(model, mixed):
    """The head is bent so that placeholders would always win."""
    placeholders = [model.config.av_token_id, model.config.memory_token_id]
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.lm_head.forward = lambda hidden: torch.nn.functional.linear(hidden, model.lm_head.weight).index_add(
        2, torch.tensor(placeholders), torch.full((*hidden.shape[:2], 2), 100.0)
    )
    for options in ({"do_sample": False}, {"do_sample": True}, {"num_beams": 2}):
        new = model.generate(**mixed, max_new_tokens=4, **options)[:, mixed["input_ids"].shape[1] :]
        assert not torch.isin(new, torch.tensor(placeholders)).any()


def test_memory_given_equals_history_given(model, processor):
    conversation = mixed_conversations()[0]
    inputs = encode(processor, conversation, recent_turns=1)
    memory = model.compress(**processor.encode_history(conversation[:-1]))
    separate = encode(processor, conversation[-1:], memory=memory)
    assert torch.equal(separate["input_ids"], inputs["input_ids"])
    assert relative_error(next_logits(model, {**separate, "memory": memory}), next_logits(model, inputs)) < 1e-5
    options = {"max_new_tokens": 5, "do_sample": False}
    assert torch.equal(model.generate(**separate, memory=memory, **options), model.generate(**inputs, **options))


def test_placeholders_without_vectors_are_an_error(model):
    for token in (model.config.av_token_id, model.config.memory_token_id):
        with pytest.raises(ValueError, match="1 (av|memory) placeholders and 0"):
            model(torch.tensor([[5, token, 6]]))


def test_vectors_without_placeholders_are_an_error(model, processor):
    clip = encode(processor, [user(("audio", sound(1)))])
    with pytest.raises(ValueError, match="0 av placeholders and 2"):
        model(torch.tensor([[5, 6]]), input_features=clip["input_features"])


def test_a_prefill_in_chunks_is_refused_with_clips(model, processor):
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        model.generate(**encode(processor, [user(("audio", sound(1)), "hi")]), prefill_chunk_size=4)


def test_only_what_can_learn_is_put_into_train_mode(model):
    model.train()
    assert model.model.extractor.qformer.training and model.model.language_model.training
    assert not model.model.extractor.audio_tower.training and not model.model.extractor.vision_tower.training
    model.model.compressor.requires_grad_(False)
    model.train()
    assert not model.model.compressor.training


def test_training_reaches_extractor_and_compressor_but_no_encoder(model, mixed):
    labels = mixed["input_ids"].masked_fill(mixed["attention_mask"] == 0, -100)
    model(**mixed, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        if "tower" in name:
            assert parameter.grad is None, name
    for name in ("extractor.queries.weight", "extractor.audio_mix.logits", "compressor.readouts.weight"):
        assert model.get_parameter(f"model.{name}").grad.abs().sum() > 0, name


def test_save_and_load_give_the_same_model(model, processor, mixed, tmp_path):
    model.save_pretrained(tmp_path)
    for auto in (AutoModel, AutoModelForCausalLM):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is EmpathAVForCausalLM
        assert torch.equal(next_logits(again, mixed), next_logits(model, mixed))
        assert again.generation_config.suppress_tokens == [model.config.av_token_id, model.config.memory_token_id]
        assert not any(parameter.requires_grad for parameter in again.model.extractor.audio_tower.parameters())


def test_the_head_stays_tied(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = EmpathAVForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.language_model.embed_tokens.weight


def test_a_language_model_that_transforms_its_logits_is_refused(processor):
    from transformers import Gemma2Config

    with pytest.raises(ValueError, match="final_logit_softcapping=30"):
        tiny_model(processor, text_config=Gemma2Config(vocab_size=300, hidden_size=32, num_hidden_layers=1))


def test_a_tuple_is_given_to_whoever_asks_for_one(model, processor):
    inputs = encode(processor, [user(("audio", sound(1)), "hi")])
    for part in (model, model.model):
        named, plain = part(**inputs, use_cache=False), part(**inputs, use_cache=False, return_dict=False)
        assert isinstance(plain, tuple) and all(torch.equal(one, other) for one, other in zip(named.to_tuple(), plain))


@pytest.mark.parametrize("memory", [False, True], ids=["clip", "clip and memory"])
def test_an_assistant_sees_clips_and_memory_too(model, processor, memory):
    """Assisted decoding gives what greedy decoding gives, in fewer passes of the model itself."""
    talk = [user("my dog died"), assistant("Oh no"), user(("audio", sound(1)), "hi")]
    inputs = encode(processor, talk, recent_turns=1) if memory else encode(processor, talk[-1:])
    options = {"max_new_tokens": 8, "do_sample": False}
    assisted = model.generate(**inputs, **options, assistant_model=model)
    assert torch.equal(assisted, model.generate(**inputs, **options))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_every_part_that_has_attention_takes_the_implementation(model, processor, tmp_path, implementation):
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, attn_implementation=implementation).eval()
    assert loaded.model.language_model.config._attn_implementation == implementation
    inputs = encode(processor, [user(("audio", sound(1)), "hi")])
    assert relative_error(loaded(**inputs).logits, model(**inputs).logits) < 1e-4
