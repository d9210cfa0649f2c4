"""What a loaded checkpoint says of itself: parts that nobody trained, and the recogniser that it brings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from peft import get_peft_model

from hub_server import File, HubServer, Repo
from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.checkpoint import loading
from transformers_empathav.checkpoint.loading import load_checkpoint, own_recogniser, untrained_parts
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.lora import language_model_lora


ROOT = Path(__file__).parents[2]
FROM_THE_HUB = """
import json, sys
from pathlib import Path
from transformers_empathav.checkpoint.loading import load_checkpoint, own_recogniser

found = []
for name in ("ann/talks", "ann/deaf"):
    model, _ = load_checkpoint(name)
    recogniser = own_recogniser(model.name_or_path)
    found.append(recogniser and {path.name: path.read_text() for path in Path(recogniser).iterdir()})
print(json.dumps(found))
"""


@pytest.fixture
def said(monkeypatch) -> list[str]:
    warnings = []
    monkeypatch.setattr(loading.logger, "warning", warnings.append)
    return warnings


@pytest.fixture
def checkpoint(processor, tmp_path) -> Path:
    folder = tmp_path / "tiny"
    tiny_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def assembled(checkpoint: Path, *trained: str):
    facts = {"preset": "tiny", "parts": {}, "trained": dict.fromkeys(trained, "digest")}
    (checkpoint / "assembly.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("trained", "warning"),
    [
        ([], "compressor and extractor are untrained, so its memory carries nothing of what was said and the emotions "
         "of its clips are guesses: train by recipes/compressor.py and recipes/extractor.py, or"),
        (["compressor.safetensors"], "extractor is untrained, so the emotions of its clips are guesses: train by"),
        (["compressor.safetensors", "extractor.safetensors"], None),
    ],
)  # fmt: skip
def test_untrained_parts_are_said_at_every_use(checkpoint, said, trained, warning):
    assembled(checkpoint, *trained)
    for _ in range(2):
        load_checkpoint(checkpoint)
    assert len(said) == (0 if warning is None else 2)
    for line in said:
        assert line.startswith(f"{checkpoint}: {warning}") and "\n" not in line


def test_a_checkpoint_that_was_not_assembled_says_nothing(checkpoint, said):
    load_checkpoint(checkpoint)
    assert untrained_parts(checkpoint) == [] and not said
    (checkpoint / "assembly.json").write_text("{")
    with pytest.raises(ValueError, match="assembly.json is damaged"):
        load_checkpoint(checkpoint)


def test_an_adapter_says_what_its_base_lacks(checkpoint, said, tmp_path):
    assembled(checkpoint)
    adapted = get_peft_model(EmpathAVForCausalLM.from_pretrained(checkpoint), language_model_lora(2))
    adapted.save_pretrained(tmp_path / "adapter")
    load_checkpoint(checkpoint)[1].save_pretrained(tmp_path / "adapter")
    said.clear()
    model, _ = load_checkpoint(tmp_path / "adapter")
    assert len(said) == 1 and "compressor and extractor are untrained" in said[0]
    assert model.name_or_path == str(checkpoint)


def test_the_recogniser_of_a_directory(checkpoint):
    assert own_recogniser(checkpoint) is None
    (checkpoint / "asr").mkdir()
    assert own_recogniser(checkpoint) is None
    (checkpoint / "asr" / "config.json").write_text("{}")
    assert own_recogniser(checkpoint) == str(checkpoint / "asr")


def test_a_checkpoint_of_the_hub_brings_its_recogniser_and_says_what_is_untrained(checkpoint, tmp_path):
    hub = HubServer({})
    files = {path.name: File(path.read_bytes(), path.suffix == ".safetensors") for path in checkpoint.iterdir()}
    assembled(checkpoint)
    recogniser = {"asr/config.json": File(b"{}", False), "asr/model.safetensors": File(b"weights", True)}
    facts = {"assembly.json": File((checkpoint / "assembly.json").read_bytes(), False)}
    for name, tree in (("ann/talks", files | recogniser | facts), ("ann/deaf", files)):
        hub.repos[name] = Repo(private=False)
        hub.repos[name].commit("main", tree, "all")
    online = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **online}
    try:
        command = [sys.executable, "-c", FROM_THE_HUB]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        # What was loaded is there without the Hub, too.
        again = subprocess.run(command, capture_output=True, text=True, env={**environment, "HF_HUB_OFFLINE": "1"})
    finally:
        hub.close()
    for process in (done, again):
        assert process.returncode == 0, process.stderr[-3000:]
        assert json.loads(process.stdout) == [{"config.json": "{}", "model.safetensors": "weights"}, None]
        warnings = [line for line in process.stderr.splitlines() if "untrained" in line]
        assert len(warnings) == 1 and warnings[0].startswith("ann/talks: compressor and extractor are untrained")
