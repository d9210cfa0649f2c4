"""The model under the tools of its ecosystem: offloading, quantizers, export, and engines that take embeddings."""

import warnings

import pytest
import torch
from torch import nn
from transformers import HubertConfig
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from encoders import SAMPLES
from helpers import assistant, encode, frames, relative_error, short_labels, sound, user, wake
from transformers_empathav import EmpathAVForCausalLM, FaceEncoderConfig
from transformers_empathav.testing.tiny import tiny_model


PARTS = ("model.language_model", "model.extractor", "model.compressor", "lm_head")


@pytest.fixture
def talk(processor):
    """A clip, and older turns that become memory."""
    older = [user("my dog died", emotion="sad"), assistant("Oh no")]
    return encode(processor, [*older, user(("video", frames(1)), ("audio", sound(2)), "hi")], recent_turns=1)


@pytest.mark.parametrize("offloaded", [*PARTS[:3], "model"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_offloaded_parts_do_the_same(model, talk, tmp_path, offloaded, dtype):
    short_labels(model).save_pretrained(tmp_path / "whole")
    whole = EmpathAVForCausalLM.from_pretrained(tmp_path / "whole", dtype=dtype)
    places = {part: "disk" if part.startswith(offloaded) else "cpu" for part in PARTS}
    places["lm_head"] = places["model.language_model"]  # whose embeddings it shares
    parts = EmpathAVForCausalLM.from_pretrained(
        tmp_path / "whole", dtype=dtype, device_map=places, offload_folder=tmp_path / "offloaded"
    )
    assert any(parameter.is_meta for parameter in parts.parameters())
    assert torch.equal(parts(**talk).logits, whole(**talk).logits)
    assert torch.equal(parts.predict_emotion(**talk), whole.predict_emotion(**talk))
    options = {"max_new_tokens": 3, "do_sample": False}
    assert torch.equal(parts.generate(**talk, **options), whole.generate(**talk, **options))
    history = {name: talk[name] for name in ("history_input_ids", "history_attention_mask")}
    kept, expected = (one.compress(**history, memory=one.empty_memory(max_vectors=8)) for one in (parts, whole))
    assert torch.equal(kept.vectors, expected.vectors) and kept.fingerprint == expected.fingerprint


@pytest.mark.parametrize("kind", ["whisper", "whisper on the sound alone", "samples", "residual face"])
@torch.no_grad()
def test_offloaded_encoders_do_the_same(processor, tmp_path, kind):
    """Whichever way the encoders are run; the second clip is silent."""
    options = {
        "whisper on the sound alone": {"pad_audio": False},
        "samples": {"audio_config": HubertConfig(**SAMPLES)},
        "residual face": {"vision_config": FaceEncoderConfig(architecture="residual", module_channels=[4, 8])},
    }
    wake(tiny_model(processor, **options.get(kind, {}))).save_pretrained(tmp_path / "whole")
    sounds, mask = torch.randn(2, *((4000,) if kind == "samples" else (8, 200))), torch.ones(2, 200).long()
    mask = mask.repeat_interleave(20, dim=1) if kind == "samples" else mask
    mask[0, -mask.shape[1] // 4 :], mask[1] = 0, 0
    clips = {"input_features": sounds, "input_features_mask": mask, "pixel_values_videos": torch.rand(2, 3, 3, 64, 64)}
    places = dict.fromkeys(PARTS, "cpu") | {"model.extractor": "disk"}
    whole, parts = (
        EmpathAVForCausalLM.from_pretrained(tmp_path / "whole", **kwargs)
        for kwargs in ({}, {"device_map": places, "offload_folder": tmp_path / "offloaded"})
    )
    assert torch.equal(parts.get_av_features(**clips), whole.get_av_features(**clips))


def test_an_offloaded_model_is_saved_whole(model, talk, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    places = {part: "disk" if part == "model.compressor" else "cpu" for part in PARTS}
    parts = EmpathAVForCausalLM.from_pretrained(
        tmp_path / "whole", device_map=places, offload_folder=tmp_path / "offloaded"
    )
    parts.save_pretrained(tmp_path / "again")
    again = EmpathAVForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again(**talk).logits, model(**talk).logits)
    assert again.model.compressor_fingerprint() == model.model.compressor_fingerprint()


@pytest.mark.parametrize("skipped", [None, ["q_proj"]])
@pytest.mark.parametrize("base", [False, True])
def test_quantizers_convert_the_language_model_alone(model, skipped, base):
    """As each quantizer of transformers chooses; a list of the user's own adds to what is left whole."""
    network = model.model if base else model
    left = HfQuantizer.get_modules_to_not_convert(network, skipped, network._keep_in_fp32_modules)
    linear = {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    converted = {name for name in linear if should_convert_module(name, left)}
    inner = {name for name in linear if "language_model." in name}
    assert converted - {"lm_head"} == {name for name in inner if not skipped or not name.endswith("q_proj")}
    assert ("lm_head" in converted) == (not base and skipped is not None)


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_a_quantized_model_reads_exact_vectors(model, talk, tmp_path, bits):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    short_labels(model).save_pretrained(tmp_path)
    small = EmpathAVForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**{bits: True})
    )
    kind = bitsandbytes.nn.Linear4bit if bits == "load_in_4bit" else bitsandbytes.nn.Linear8bitLt
    converted = {name for name, module in small.named_modules() if isinstance(module, kind)}
    assert converted and all(name.startswith("model.language_model.") for name in converted)
    assert torch.equal(small.prompt_embeds(**talk), model.prompt_embeds(**talk))
    assert small(**talk).logits.isfinite().all()


def test_the_language_model_fed_with_prompt_embeds_gives_the_same_logits(model, talk):
    memory = model.compress(talk["history_input_ids"], talk["history_attention_mask"])
    rest = {name: value for name, value in talk.items() if not name.startswith("history")}
    expected = model(**talk).logits
    for inputs in (talk, rest | {"memory": memory}):
        embeds = model.prompt_embeds(**inputs)
        assert embeds.shape == (*talk["input_ids"].shape, model.config.text_config.hidden_size)
        hidden = model.model.language_model(inputs_embeds=embeds).last_hidden_state
        assert relative_error(model.lm_head(hidden), expected) < 1e-5


def test_prompt_embeds_are_a_prompt_for_generate(model, talk):
    options = {"max_new_tokens": 5, "do_sample": False}
    new = model.generate(inputs_embeds=model.prompt_embeds(**talk), attention_mask=talk["attention_mask"], **options)
    assert torch.equal(new, model.generate(**talk, **options)[:, talk["input_ids"].shape[1] :])


def test_prompt_embeds_refuse_what_they_do_not_know(model, talk):
    with pytest.raises(TypeError, match="pixel_values"):
        model.prompt_embeds(talk["input_ids"], pixel_values=talk["pixel_values_videos"])
    with pytest.raises(ValueError, match="placeholders and 0"):
        model.prompt_embeds(talk["input_ids"])


def test_vectors_beside_embeddings_are_an_error(model, talk):
    embeds, vectors = model.prompt_embeds(**talk), model.get_av_features(input_features=talk["input_features"])
    with pytest.raises(ValueError, match="av_embeds replace placeholders .* model.prompt_embeds"):
        model(inputs_embeds=embeds, av_embeds=vectors)


@pytest.mark.parametrize("clip", [False, True], ids=["text", "clip"])
@torch.no_grad()
def test_the_forward_pass_can_be_compiled_and_exported(model, talk, clip):
    """In one graph; it still refuses placeholders and vectors that differ in number."""
    token = model.config.av_token_id if clip else 5
    inputs = {"input_ids": torch.tensor([[5, token, token, 6]])}
    if clip:
        inputs["av_embeds"] = model.get_av_features(input_features=talk["input_features"][:1])
    expected = model(**inputs, use_cache=False).logits
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert relative_error(compiled(**inputs, use_cache=False).logits, expected) < 1e-5
    exported = torch.export.export(model, (), inputs | {"use_cache": False}, strict=False).module()
    assert relative_error(exported(**inputs, use_cache=False).logits, expected) < 1e-5
    wrong = inputs | {"input_ids": torch.tensor([[5, model.config.av_token_id, 6, 7]])}
    for variant in (compiled, exported):
        with pytest.raises((RuntimeError, ValueError)):
            variant(**wrong, use_cache=False)


def test_trl_and_peft_may_ask_by_the_older_name(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not model.is_gradient_checkpointing
        model.activation_checkpointing_enable()
        assert model.is_gradient_checkpointing
