"""What the trainers of one part share: checkpoints that hold that part alone."""

from pathlib import Path

import torch

from ..checkpoint.trained_parts import load_part, part_file, save_part
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from .watched_trainer import WatchedTrainer


class PartTrainer(WatchedTrainer):
    """
    A [`WatchedTrainer`] for a module whose `model` is an [`EmpathAVForCausalLM`] of which only `part` learns.

    A checkpoint of the training holds that part in one safetensors file, not the frozen weights around it.
    """

    part: str

    def report(self, figures: dict[str, float], prefix: str) -> dict[str, float]:
        """
        Logs what an evaluation found and tells the callbacks. Call it at the end of an `evaluate` that overrides
        `Trainer.evaluate`: early stopping and the best checkpoint depend on both.
        """
        metrics = {f"{prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir=None, state_dict=None):
        # `Trainer.save_model` calls this on every process. Its own `_save` writes the state dict of the whole module,
        # the frozen language model with it, and so would any other method that it came to call.
        if not self.args.should_save:
            return
        directory = Path(output_dir or self.args.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        save_part(self._inner(), self.part, directory / part_file(self.part))
        torch.save(self.args, directory / "training_args.bin")

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        # `Trainer.train` calls this to resume. Its own refuses a checkpoint without `model.safetensors`.
        load_part(self._inner(), self.part, Path(resume_from_checkpoint) / part_file(self.part))

    def _load_best_model(self):
        # `Trainer.train` calls this at its end where `load_best_model_at_end` is set. Its own finds no
        # `model.safetensors` and merely warns, so the last weights would pass for the best ones.
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _inner(self) -> EmpathAVForCausalLM:
        """The model inside the module that is trained."""
        return self.accelerator.unwrap_model(self.model).model
