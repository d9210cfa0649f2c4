"""Checkpoints as the Hub serves them: files that load where the package cannot be imported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

import transformers_empathav
from clean_process import run_without
from clips import write_clip
from helpers import encode, relative_error, user, wake
from transformers_empathav.testing.tiny import tiny_model


TEXT_ALONE = """
import json
folder, again = sys.argv[1:]
trust = {"trust_remote_code": True}
assert type(AutoConfig.from_pretrained(folder, **trust)).__name__ == "EmpathAVConfig"

def answer(folder, auto_class):
    model = auto_class.from_pretrained(folder, **trust).eval()
    processor = AutoProcessor.from_pretrained(folder, **trust)
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": "I lost my job."}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0].tolist()
    model.save_pretrained(again), processor.save_pretrained(again)
    return {"model": type(model).__name__, "processor": type(processor).__name__, "tokens": tokens}

found = [answer(folder, AutoModel), answer(folder, AutoModelForCausalLM), answer(again, AutoModelForCausalLM)]
written = pipeline("text-generation", model=again, **trust)("Hello", max_new_tokens=4, do_sample=False)
print(json.dumps({"answers": found, "pipeline": written[0]["generated_text"]}))
"""

WITH_A_CLIP = """
import numpy as np
folder, clip, out = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
message = {"role": "user", "content": [{"type": "video", "path": clip}, {"type": "text", "text": "Well?"}]}
inputs = processor.apply_chat_template([message], add_generation_prompt=True, tokenize=True, return_dict=True)
with torch.no_grad():
    logits = model(**inputs).logits
np.savez(out, logits=logits.numpy(), **{name: tensor.numpy() for name, tensor in inputs.items()})
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory, processor) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    wake(tiny_model(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_text_needs_neither_the_package_nor_media_libraries(saved, model, processor, tmp_path):
    blocked = {"transformers_empathav", "av", "cv2", "soxr"}
    printed = run_without(blocked, TEXT_ALONE, saved, tmp_path / "again", home=tmp_path)
    there = json.loads(printed.splitlines()[-1])
    inputs = encode(processor, [user("I lost my job.")])
    tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0].tolist()
    expected = {"model": "EmpathAVForCausalLM", "processor": "EmpathAVProcessor", "tokens": tokens}
    assert there["answers"] == [expected] * 3
    assert there["pipeline"].startswith("Hello")


def test_a_clip_gives_the_same_logits_without_the_package(saved, model, processor, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", seconds=1)
    run_without({"transformers_empathav", "cv2"}, WITH_A_CLIP, saved, clip, tmp_path / "there.npz", home=tmp_path)
    there = dict(np.load(tmp_path / "there.npz"))
    inputs = encode(processor, [user(("video", str(clip)), "Well?")])
    assert set(there) == {*inputs, "logits"}
    for name in inputs:
        assert np.array_equal(there[name], inputs[name].numpy()), name
    with torch.no_grad():
        assert relative_error(torch.tensor(there["logits"]), model(**inputs).logits) < 1e-6


def auto_maps(folder: Path) -> dict:
    files = [folder / "config.json", folder / "processor_config.json"]
    return {file.name: json.loads(file.read_text())["auto_map"] for file in files if file.is_file()}


@pytest.mark.parametrize("order", ["model", "processor", "model processor", "processor model"])
def test_auto_maps_are_complete_whichever_part_is_saved(order, tmp_path, model, processor):
    parts = {"model": model, "processor": processor}
    for part in order.split():
        parts[part].save_pretrained(tmp_path)
    found, generating = auto_maps(tmp_path), "modeling_empathav.EmpathAVForCausalLM"
    if "model" in order:
        assert found["config.json"] == {
            "AutoConfig": "configuration_empathav.EmpathAVConfig",
            "AutoModel": generating,
            "AutoModelForCausalLM": generating,
            "AutoProcessor": "processing_empathav.EmpathAVProcessor",
        }
        assert (tmp_path / "modeling_empathav.py").is_file() and (tmp_path / "configuration_empathav.py").is_file()
    if "processor" in order:
        assert found["processor_config.json"]["AutoProcessor"] == "processing_empathav.EmpathAVProcessor"
        assert (tmp_path / "processing_empathav.py").is_file()


@pytest.mark.parametrize("trust", [False, True])
def test_with_the_package_its_own_classes_are_used(trust, saved):
    for auto_class, expected in (
        (AutoConfig, transformers_empathav.EmpathAVConfig),
        (AutoModel, transformers_empathav.EmpathAVForCausalLM),
        (AutoModelForCausalLM, transformers_empathav.EmpathAVForCausalLM),
        (AutoProcessor, transformers_empathav.EmpathAVProcessor),
    ):
        assert type(auto_class.from_pretrained(saved, trust_remote_code=trust)) is expected


TOKENIZER = """
from transformers import AutoTokenizer
import builtins, json
asked = []
builtins.input = lambda text: asked.append(text) or "n"
(folder,) = sys.argv[1:]
alone = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
assert not asked and "transformers_modules" not in str(list(sys.modules))
print(json.dumps(alone("I lost my job.")["input_ids"]))
"""


def test_the_tokenizer_needs_no_code(saved, processor, tmp_path, monkeypatch):
    printed = run_without({"transformers_empathav"}, TOKENIZER, saved, home=tmp_path)
    assert json.loads(printed.splitlines()[-1]) == processor.tokenizer("I lost my job.")["input_ids"]
    monkeypatch.setattr("builtins.input", lambda text: pytest.fail(text))  # where the package is imported
    assert AutoTokenizer.from_pretrained(saved).get_vocab() == processor.tokenizer.get_vocab()
