"""What the trainers of one part have in common: their checkpoints hold that part alone."""

from pathlib import Path

import torch
from transformers import Trainer

from ..checkpoint.trained_parts import load_part, part_file, save_part
from ..modeling.modeling_empathav import EmpathAVForCausalLM


class PartTrainer(Trainer):
    """`transformers.Trainer` for a module whose `model` is an [`EmpathAVForCausalLM`] of which `part` is trained."""

    part: str

    def report(self, figures: dict[str, float], prefix: str) -> dict[str, float]:
        """Logs what an evaluation found and tells the callbacks."""
        metrics = {f"{prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir=None, state_dict=None):
        directory = Path(output_dir or self.args.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        save_part(self._inner(), self.part, directory / part_file(self.part))
        torch.save(self.args, directory / "training_args.bin")

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        load_part(self._inner(), self.part, Path(resume_from_checkpoint) / part_file(self.part))

    def _load_best_model(self):
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _inner(self) -> EmpathAVForCausalLM:
        return self.accelerator.unwrap_model(self.model).model
