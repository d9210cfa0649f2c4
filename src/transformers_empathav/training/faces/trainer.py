"""Training of a face tower on labelled faces: augmented, mixed, with smoothed labels and averaged weights."""

import copy
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch.utils.data import Dataset
from transformers import TrainerCallback

from ...data.faces import Faces
from ...measures.recognition import emotion_metrics
from ...modeling.face_encoder_empathav import FaceEncoder
from ...modeling.file_writing_empathav import write_file
from ..loss_scale import mean_over_update
from ..watched_trainer import WatchedTrainer
from .augmentation import FaceAugmentation


AVERAGE_FILE = "average.safetensors"


class FaceDataset(Dataset):
    """Grey faces `(1, height, width)` in [0, 1] with their labels and ids."""

    def __init__(self, faces: Faces):
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, row: int) -> dict:
        pixels = torch.from_numpy(self.faces.pixels[row])[None]
        # The id is for errors: `default_data_collator` leaves words out.
        return {"id": self.faces.ids[row], "pixel_values": pixels.float() / 255, "labels": int(self.faces.labels[row])}


class AverageCallback(TrainerCallback):
    """
    Moving average of weights and of what batch normalisation counted, after every step.

    Args:
        model ([`FaceEncoder`]): What is trained.
        decay (`float`): What stays of the average at a step; less in the first steps.
    """

    def __init__(self, model: FaceEncoder, decay: float):
        self.average, self.decay = copy.deepcopy(model).eval().requires_grad_(False), decay

    @torch.no_grad()
    def on_step_end(self, args, state, control, model=None, **kwargs):
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for mean, value in zip(self.average.state_dict().values(), model.state_dict().values()):
            mean.lerp_(value.to(mean), 1 - decay) if mean.is_floating_point() else mean.copy_(value)


class FaceTrainer(WatchedTrainer):
    r"""
    A [`WatchedTrainer`] for a [`FaceEncoder`]. What it evaluates is the average of the weights, which lies in each
    checkpoint as `average.safetensors` and after training in `trainer.average`.

    Args:
        augmentation ([`FaceAugmentation`], *optional*): Applied to each training batch.
        label_smoothing (`float`): Share of a label that is spread over all.
        mixup (`float`): Both parameters of the beta distribution from which the share of a second face is drawn.
        mixup_share (`float`): Share of batches that are mixed.
        average_decay (`float`): See [`AverageCallback`].
        class_weights (`torch.Tensor` of shape `(labels,)`, *optional*): What a face of each emotion counts.
    """

    def __init__(
        self,
        *args,
        augmentation: FaceAugmentation | None = None,
        label_smoothing: float = 0.1,
        mixup: float = 0.2,
        mixup_share: float = 0.3,
        average_decay: float = 0.999,
        class_weights: torch.Tensor | None = None,
        **kwargs,
    ):
        super().__init__(*args, compute_metrics=face_metrics, **kwargs)
        self.augmentation, self.label_smoothing, self.class_weights = augmentation, label_smoothing, class_weights
        self.mixup, self.mixup_share = mixup, mixup_share
        self.label_names = ["labels"]  # else evaluation would pass by compute_loss
        self.model.to(memory_format=torch.channels_last)
        self.averaging = AverageCallback(self.model, average_decay)
        self.add_callback(self.averaging)

    @property
    def average(self) -> FaceEncoder:
        return self.averaging.average

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels, faces = inputs["labels"], inputs["pixel_values"]
        targets = F.one_hot(labels, self.model.config.num_labels).to(faces)
        if model.training:
            with torch.autocast(faces.device.type, enabled=False):
                if self.augmentation is not None:
                    faces = self.augmentation(faces)
                if torch.rand(()) < self.mixup_share:
                    share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
                    order = torch.randperm(len(faces), device=faces.device)
                    faces, targets = (torch.lerp(one, one[order], share) for one in (faces, targets))
        faces = (2 * faces - 1).expand(-1, 3, -1, -1)
        outputs = model(pixel_values=faces, return_dict=True)
        weights = None if self.class_weights is None else self.class_weights.to(faces)
        smoothing = self.label_smoothing if model.training else 0.0
        losses = F.cross_entropy(
            outputs.logits.float(), targets, weight=weights, label_smoothing=smoothing, reduction="none"
        )
        loss = mean_over_update(self, losses, num_items_in_batch)
        return (loss, {"logits": outputs.logits}) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        with self.accelerator.autocast():
            return super().prediction_step(
                self.average.to(self.args.device), inputs, prediction_loss_only, ignore_keys=ignore_keys
            )

    def _save(self, output_dir=None, state_dict=None):
        super()._save(output_dir, state_dict)
        state = {name: tensor.contiguous() for name, tensor in self.average.state_dict().items()}
        write_file(Path(output_dir or self.args.output_dir) / AVERAGE_FILE, save(state))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_average(resume_from_checkpoint)

    def load_average(self, checkpoint: str | os.PathLike):
        """The average that lies in a checkpoint."""
        self.average.load_state_dict(load_file(str(Path(checkpoint) / AVERAGE_FILE)))


def face_metrics(prediction) -> dict[str, float]:
    """Measures of [`emotion_metrics`] of logits."""
    scores = torch.from_numpy(np.asarray(prediction.predictions)).float().softmax(dim=-1).numpy()
    return emotion_metrics(prediction.label_ids, scores)
