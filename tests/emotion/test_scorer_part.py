"""The scorer's trained part: what moves in training, and the small file that holds it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from texts import write_encoder
from transformers_empathav.emotion.scorer_part import assemble_scorer, open_scorer, save_scorer, scorer_directory
from transformers_empathav.emotion.text_classifier import EmotionScorer


@pytest.fixture
def trained(tmp_path):
    """An encoder's folder, and a scorer on it whose trained weights all differ from those it began with."""
    base = str(write_encoder(tmp_path / "encoder"))
    model = open_scorer(base, rank=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return base, model.eval()


def test_the_encoder_stays_and_the_rest_moves(trained):
    _, model = trained
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moving and all("lora_" in name or "pooler" in name or "classifier" in name for name in moving)


def test_the_small_file_makes_the_model_again(trained, tmp_path, monkeypatch):
    base, model = trained
    save_scorer(model, tmp_path / "part.safetensors", base)
    assert {tensor.dtype for tensor in load_file(tmp_path / "part.safetensors").values()} == {torch.bfloat16}
    monkeypatch.setenv("EMPATHAV_CACHE", str(tmp_path / "cache"))
    assemble_scorer(tmp_path / "part.safetensors", tmp_path / "model")
    scorer = EmotionScorer(tmp_path / "part.safetensors")
    texts = ["Oh no", "How nice of you!"]
    with torch.no_grad():
        logits = model(**scorer.tokenizer(texts, padding=True, return_tensors="pt")).logits
    assert np.abs(scorer(texts) - logits.softmax(dim=-1).numpy()).max() < 0.02  # bfloat16 has rounded
    assert np.array_equal(scorer(texts), EmotionScorer(tmp_path / "model")(texts))
    untrained = open_scorer(base, rank=2).eval()
    with torch.no_grad():
        logits = untrained(**scorer.tokenizer(texts, padding=True, return_tensors="pt")).logits
    assert np.abs(scorer(texts) - logits.softmax(dim=-1).numpy()).max() > 0.05


def test_a_part_is_assembled_once(trained, tmp_path, monkeypatch):
    base, model = trained
    monkeypatch.setenv("EMPATHAV_CACHE", str(tmp_path / "cache"))
    save_scorer(model, tmp_path / "part.safetensors", base)
    first = scorer_directory(tmp_path / "part.safetensors")
    EmotionScorer(first)
    monkeypatch.setattr("transformers_empathav.emotion.scorer_part.assemble_scorer", None)
    assert scorer_directory(tmp_path / "part.safetensors") == first
    assert scorer_directory(first) == first and scorer_directory("someone/classifier") == "someone/classifier"


def test_an_encoder_that_has_changed_makes_another_classifier(trained, tmp_path, monkeypatch):
    base, model = trained
    monkeypatch.setenv("EMPATHAV_CACHE", str(tmp_path / "cache"))
    part = tmp_path / "part.safetensors"
    save_scorer(model, part, base)
    before, scores = scorer_directory(part), EmotionScorer(part)(["Oh no"])
    weights = {name: 2 * tensor for name, tensor in load_file(f"{base}/model.safetensors").items()}
    save_file(weights, f"{base}/model.safetensors", {"format": "pt"})
    assert scorer_directory(part) != before
    assert np.abs(EmotionScorer(part)(["Oh no"]) - scores).max() > 1e-3


def test_a_full_disk_is_an_oserror_and_leaves_the_old_part(trained, tmp_path, monkeypatch):
    base, model = trained
    part = tmp_path / "part.safetensors"
    save_scorer(model, part, base)
    before = part.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="could not be written"):
        save_scorer(model, part, base)
    assert part.read_bytes() == before and {path.name for path in tmp_path.iterdir()} == {"encoder", part.name}


def test_a_file_that_does_not_fit_is_refused(trained, tmp_path):
    base, model = trained
    part = tmp_path / "part.safetensors"
    save_scorer(model, part, base)
    wider = write_encoder(tmp_path / "wider", num_labels=7, type_vocab_size=2)
    config = wider / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 1'))
    with pytest.raises(ValueError, match="does not fit"):
        assemble_scorer(part, tmp_path / "out", str(wider))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no trained part"):
        assemble_scorer(tmp_path / "other.safetensors", tmp_path / "out")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        assemble_scorer(part, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no emotion scorer"):
        EmotionScorer(tmp_path / "absent.safetensors")
