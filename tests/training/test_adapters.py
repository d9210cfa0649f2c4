"""A trained adapter on disk: by the auto classes, by PEFT, merged and in its Hub form it is the same model."""

import json
import os
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoProcessor

from helpers import encode, user, wake
from pairs import pair
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.checkpoint.loading import load_model
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.adapters import AdapterArguments, finish, load_base, with_adapter
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.trainer import EPOTrainer


MESSAGES = [user("I lost my job")]
CLEAN = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoProcessor
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    model = AutoModelForCausalLM.from_pretrained(source, trust_remote_code=True, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=True)
    inputs = processor.apply_chat_template(
        [[{"role": "user", "content": "I lost my job"}]], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    torch.save(model(**inputs).logits, target)
assert "transformers_empathav" not in sys.modules
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, processor):
    """The output directory of a short training, and the logits of the trained model."""
    folder = tmp_path_factory.mktemp("adapter")
    wake(tiny_model(processor)).save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    arguments = AdapterArguments(checkpoint=str(folder / "base"), llm_dtype="float32", lora_r=4)
    model, processor = load_base(arguments)
    options = {"max_steps": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 2, "save_strategy": "no"}
    trainer = EPOTrainer(
        model,
        peft_config=arguments.lora(model),
        args=EPOConfig(str(folder / "out"), use_cpu=True, report_to="none", disable_tqdm=True, **options),
        train_dataset=Dataset.from_list([pair("a"), pair("b")]),
        processing_class=processor,
    )
    trainer.train()
    settings = {"emotion_temperature": 2.5}
    finish(trainer, processor, merge_into=str(folder / "base"), settings=settings, dtype=torch.float32)
    with torch.no_grad():
        logits = trainer.model.eval()(**encode(processor, MESSAGES)).logits
        with trainer.model.disable_adapter():
            assert not torch.allclose(logits, trainer.model(**encode(processor, MESSAGES)).logits, atol=1e-2)
    return folder, logits


@torch.no_grad()
def logits_of(model, directory):
    return model.eval()(**encode(AutoProcessor.from_pretrained(directory), MESSAGES)).logits


def test_the_auto_classes_load_the_directory_and_it_answers(trained, monkeypatch, tmp_path):
    folder, logits = trained
    monkeypatch.chdir(tmp_path)  # nothing in it is relative
    model = AutoModelForCausalLM.from_pretrained(folder / "out", dtype=torch.float32)
    assert isinstance(model, EmpathAVForCausalLM)
    assert torch.allclose(logits_of(model, folder / "out"), logits, atol=1e-6)
    inputs = encode(AutoProcessor.from_pretrained(folder / "out"), MESSAGES)
    assert model.generate(**inputs, max_new_tokens=5, do_sample=False).shape[1] > inputs["input_ids"].shape[1]


def test_peft_and_the_merged_checkpoint_give_the_same_logits(trained):
    folder, logits = trained
    base = EmpathAVForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    assert torch.allclose(
        logits_of(PeftModel.from_pretrained(base, folder / "out"), folder / "out"), logits, atol=1e-6
    )
    merged = AutoModelForCausalLM.from_pretrained(folder / "out" / "merged", dtype=torch.float32)
    assert torch.allclose(logits_of(merged, folder / "out" / "merged"), logits, atol=1e-5)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]


def test_whatever_loads_it_reads_emotions_at_its_temperature(trained):
    folder, _ = trained
    for directory, expected in (("base", 1.0), ("out", 2.5), ("out/merged", 2.5)):
        assert load_model(folder / directory, torch.float32).config.emotion_temperature == expected


def test_the_hub_form_needs_no_package(trained, tmp_path):
    folder, logits = trained
    environment = {**os.environ, "PYTHONPATH": "", "HF_MODULES_CACHE": str(tmp_path / "modules")}
    jobs = {tmp_path / "merged.pt": folder / "out" / "merged", tmp_path / "adapter.pt": folder / "out"}
    arguments = [str(path) for target, source in jobs.items() for path in (source, target)]
    command = [sys.executable, "-c", CLEAN, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(torch.allclose(torch.load(target), logits, atol=1e-5) for target in jobs)


def test_the_directory_names_its_base_and_has_a_card(trained):
    folder, _ = trained
    config = json.loads((folder / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(folder / "base")
    card = ModelCard.load(folder / "out" / "README.md")
    assert "epo" in card.data.tags and "3 steps of 2 rows" in card.text and "rewards/margins" in card.text


def test_an_adapter_is_half_as_large_in_bfloat16_and_can_be_trained_on(trained, tmp_path):
    folder, _ = trained
    arguments = AdapterArguments(
        checkpoint=str(folder / "base"), adapter=str(folder / "out"), base_model="someone/base", llm_dtype="float32"
    )
    model, processor = load_base(arguments)
    options = {"max_steps": 1, "per_device_train_batch_size": 2, "save_strategy": "no", "learning_rate": 0.0}
    trainer = EPOTrainer(
        with_adapter(model, arguments),
        args=EPOConfig(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, **options),
        train_dataset=Dataset.from_list([pair("a"), pair("b")]),
        processing_class=processor,
    )
    trainer.train()
    finish(trainer, processor)
    weights, before = (load_file(where / "adapter_model.safetensors") for where in (tmp_path, folder / "out"))
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert all(torch.equal(weights[name], tensor.bfloat16()) for name, tensor in before.items())
    assert not (tmp_path / "ref").exists()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/base"


def test_what_cannot_be_trained_on_or_published_is_refused_at_once(trained):
    folder, _ = trained
    with pytest.raises(ValueError, match="give one under `checkpoint`"):
        load_base(AdapterArguments())
    with pytest.raises(ValueError, match="give the Hub id of that checkpoint as `base_model`"):
        load_base(AdapterArguments(checkpoint=str(folder / "base")), push_to_hub=True)
