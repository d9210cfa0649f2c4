"""Checkpoints of one part: they hold it alone, and one process writes them."""

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import TrainingArguments

from transformers_empathav.checkpoint.trained_parts import trained_tensors
from transformers_empathav.training.part_trainer import PartTrainer


class Around(nn.Module):
    """As a part is trained: the whole model within a module."""

    def __init__(self, model):
        super().__init__()
        self.model = model


class CompressorAlone(PartTrainer):
    part = "compressor"


def test_a_checkpoint_holds_the_part_alone_and_is_loaded_again(model, tmp_path):
    trainer = CompressorAlone(Around(model), TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
    wanted = {name: tensor.clone() for name, tensor in trained_tensors(model, "compressor").items()}
    trainer.save_model(tmp_path / "checkpoint")
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} == {
        "compressor.safetensors",
        "training_args.bin",
    }
    assert load_file(tmp_path / "checkpoint" / "compressor.safetensors").keys() == wanted.keys()
    with torch.no_grad():
        for parameter in model.model.compressor.parameters():
            parameter.add_(1.0)
    trainer.state.best_model_checkpoint = tmp_path / "checkpoint"
    trainer._load_best_model()
    assert all(tensor.equal(wanted[name]) for name, tensor in trained_tensors(model, "compressor").items())


def test_processes_that_save_nothing_write_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "should_save", False)
    arguments = TrainingArguments(str(tmp_path / "out"), use_cpu=True, report_to="none")
    CompressorAlone(Around(model), arguments).save_model(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
