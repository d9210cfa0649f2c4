"""Frozen features of clips: what they hold, how they are stored, and how they become a batch."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from ..modeling.file_writing_empathav import write_file
from ..modeling.layers_empathav import statistics


@dataclass
class ClipFeatures:
    """
    Frozen features of one window of a clip.

    Args:
        audio (`torch.Tensor` of shape `(layers, tokens, width)`, *optional*): `None` without sound.
        video (`torch.Tensor` of shape `(layers, frames, patches, width)`, *optional*): `None` without frames.
    """

    audio: torch.Tensor | None
    video: torch.Tensor | None


def stack_features(windows: list[ClipFeatures]) -> dict[str, torch.Tensor]:
    """
    Pads windows of different lengths to one batch of the extractor's inputs, in the type of the features. Missing
    streams are zeros, with a 0 in `audio_mask` or `video_mask`.

    Raises:
        `ValueError`: no window has any stream.
    """
    audio, video = [window.audio for window in windows], [window.video for window in windows]
    if all(stream is None for stream in audio + video):
        raise ValueError("None of these clips has the stream that is asked for: give clips with sound or frames.")
    batch = {
        "audio_mask": torch.tensor([int(stream is not None) for stream in audio]),
        "video_mask": torch.tensor([int(stream is not None) for stream in video]),
    }
    if (known := next((stream for stream in audio if stream is not None), None)) is not None:
        longest = max(stream.shape[1] for stream in audio if stream is not None)
        batch["audio_features"] = known.new_zeros(len(audio), known.shape[0], longest, known.shape[2])
        batch["input_features_mask"] = torch.zeros(len(audio), longest, dtype=torch.long)
        for row, stream in enumerate(audio):
            if stream is not None:
                batch["audio_features"][row, :, : stream.shape[1]] = stream
                batch["input_features_mask"][row, : stream.shape[1]] = 1
    if (known := next((stream for stream in video if stream is not None), None)) is not None:
        batch["video_features"] = torch.stack(
            [torch.zeros_like(known) if frames is None else frames for frames in video]
        )
    return batch


def statistics_of(features: torch.Tensor) -> torch.Tensor:
    """[`statistics`] of one window's stream, `(layers, ..., width)` to `(layers, 2, width)`."""
    tokens = features.flatten(1, -2)[None]
    return statistics(tokens, torch.ones(1, tokens.shape[2], dtype=torch.bool))[0]


def write_entry(path: Path, windows: list[ClipFeatures]):
    """
    Writes windows to one safetensors file, in one step: another process that reads or writes it never finds half.

    Raises:
        `OSError`: it cannot be written, for instance on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{number}.{stream}": tensor
        for number, window in enumerate(windows)
        for stream, tensor in (("audio", window.audio), ("video", window.video))
        if tensor is not None
    }
    write_file(path, save(tensors, metadata={"windows": str(len(windows))}))


def read_entry(path: Path) -> list[ClipFeatures]:
    """
    Reads windows that [`write_entry`] wrote.

    Raises:
        `FileNotFoundError`: there is no such file.
        `SafetensorError`: it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}
        windows = int(file.metadata()["windows"])
    return [ClipFeatures(stored.get(f"{number}.audio"), stored.get(f"{number}.video")) for number in range(windows)]
