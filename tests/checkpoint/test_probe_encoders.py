"""Encoders of many families: what a clip gives depends on nothing else, or the encoder is refused in one line."""

from pathlib import Path

import pytest
import torch

from encoders import AUDIO, VISION, save_encoder
from helpers import encode, relative_error, sound, user
from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.checkpoint.assemble import assemble
from transformers_empathav.checkpoint.probe_encoders import probe_encoders
from transformers_empathav.testing.families import save_tiny_encoders, save_tiny_llm


# Seconds of sound; the last is shorter than what convolutions span at once.
LENGTHS = (0.7, 1.9, 0.02)
# What the line says about encoders that cannot serve.
REFUSED = {
    "qwen2-audio": "cannot be the audio encoder",
    "vit_mae": "the same clip twice differs by",
    "pixtral": "cannot be the vision encoder",
    "siglip2": "cannot be the vision encoder",
    "videomae": "cannot be the vision encoder",
    "vjepa2": "cannot be the vision encoder",
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("parts")
    save_tiny_llm("Llama", folder / "llm")
    return {"llm": str(folder / "llm"), **save_tiny_encoders(folder)}


def put_together(folder: Path, parts: dict[str, str], **other) -> Path:
    return assemble(folder, source="hub", **{**parts, **other}, say=lambda line: None)


@pytest.mark.parametrize("kind", [kind for kind in AUDIO if kind not in REFUSED])
def test_a_clip_beside_a_longer_one_gives_what_it_gives_alone(kind, parts, tmp_path):
    folder = put_together(tmp_path / "out", parts, audio=save_encoder(kind, tmp_path / kind))
    model = EmpathAVForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    processor = EmpathAVProcessor.from_pretrained(folder)
    model.model.extractor.open()  # so that the sound counts
    talks = [[user(("audio", sound(index, seconds=seconds)), "Well?")] for index, seconds in enumerate(LENGTHS)]
    with torch.no_grad():
        together = model.model.extractor(**streams(encode(processor, *talks)))
        alone = [model.model.extractor(**streams(encode(processor, talk))) for talk in talks]
    assert relative_error(together, torch.cat(alone)) < 1e-5
    assert relative_error(together[0], together[1]) > 1e-3
    bare, _, _ = AUDIO[kind]()
    heard = encode(processor, talks[0])["input_features"]
    with torch.no_grad():
        expected = bare.from_pretrained(tmp_path / kind).eval()(heard, output_hidden_states=True).hidden_states
        found = model.model.extractor.encode_audio(heard, torch.ones(heard.shape[:2]))
    assert relative_error(found, torch.stack(expected, 1)) < 1e-5


def streams(inputs) -> dict[str, torch.Tensor]:
    return {name: inputs[name] for name in ("input_features", "input_features_mask", "audio_mask")}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_serve_is_refused_in_one_line(kind, parts, tmp_path):
    role = "audio" if kind in AUDIO else "vision"
    with pytest.raises(ValueError, match=REFUSED[kind]) as refusal:
        put_together(tmp_path / "out", parts, **{role: save_encoder(kind, tmp_path / kind)})
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda states: states * (1 + 0.1 * len(states)), "a clip in a batch and by itself differ by 0.0"),
        (lambda states: states + 0.1 * torch.rand_like(states), "the same clip twice differs by 0.0"),
        (lambda states: states[:, :1, :1] / 0, "differs by nan"),
        (lambda states: states[..., :3], "fails on two clips .RuntimeError"),
    ],
)
def test_each_fault_is_found(model, processor, monkeypatch, fault, said):
    extractor = model.model.extractor
    run = extractor._run_tower
    probe_encoders(model, processor)
    monkeypatch.setattr(extractor, "_run_tower", lambda *args, **kwargs: fault(run(*args, **kwargs)))
    with pytest.raises(ValueError, match=said):
        probe_encoders(model, processor)


def test_vision_kinds_are_all_refused_for_a_reason():
    assert set(VISION) <= set(REFUSED)
