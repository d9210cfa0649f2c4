"""Tries the encoders of a checkpoint: what a clip gives must not depend on its neighbours, nor on chance."""

import numpy as np
import torch

from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.media_empathav import Clip, encode_clips
from ..processing.processing_empathav import EmpathAVProcessor


# Largest difference, as a share of the largest number. Sums in another order differ by less than 1e-5.
MOST = 1e-3
KNOWN = {"audio": "Whisper, wav2vec2, HuBERT or WavLM", "vision": "ViT, DINOv2, CLIP or SigLIP"}


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference of two tensors, as a share of the largest number of `expected`; NaN is passed on."""
    if found.shape != expected.shape:
        raise ValueError(f"{tuple(found.shape)} came out in place of {tuple(expected.shape)}.")
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


@torch.no_grad()
def probe_encoders(model: EmpathAVForCausalLM, processor: EmpathAVProcessor):
    r"""
    Encodes two clips, of different lengths, together and each by itself, and one of them twice.

    Raises:
        `ValueError`: if an encoder fails, or these differ; with the figure, in one line.
    """
    for role, clips in (("audio", sounds(processor)), ("vision", films(processor))):
        kind = getattr(model.config, f"{role}_config").model_type
        refused, instead = f"{kind!r} cannot be the {role} encoder:", f"Take {KNOWN[role]}."
        try:
            together = encode(model, processor, clips)
            alone = [encode(model, processor, [clip]) for clip in clips]
            twice = max(map(difference, encode(model, processor, clips[:1]), alone[0]))
            batch = 0.0
            for row, (layers, vectors) in enumerate(alone):
                beside = together[0][row : row + 1, :, : layers.shape[2]], together[1][row : row + 1]
                batch = max(batch, *map(difference, beside, (layers, vectors)))
        except Exception as error:
            raise ValueError(f"{refused} it fails on two clips ({one_line(error)}). {instead}") from error
        if not twice <= MOST:
            raise ValueError(f"{refused} the same clip twice differs by {twice:.2g} of the largest number. {instead}")
        if not batch <= MOST:
            raise ValueError(
                f"{refused} a clip in a batch and by itself differ by {batch:.2g} of the largest number. {instead}"
            )


def encode(
    model: EmpathAVForCausalLM, processor: EmpathAVProcessor, clips: list[Clip]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Layers of the encoder that clips of one stream need, and their emotion vectors."""
    inputs = encode_clips(clips, processor.feature_extractor, processor.image_processor)
    inputs = {name: torch.from_numpy(value) for name, value in inputs.items()}
    extractor = model.model.extractor
    if clips[0].audio is None:
        layers = extractor.encode_video(inputs["pixel_values_videos"])
        return layers, extractor(video_features=layers)
    layers, heard = extractor.hear(inputs["input_features"], inputs["input_features_mask"])
    return layers, extractor(audio_features=layers, input_features_mask=heard)


def sounds(processor: EmpathAVProcessor) -> list[Clip]:
    """Noise of two lengths."""
    rate, random = processor.feature_extractor.sampling_rate, np.random.default_rng(0)
    noises = [random.uniform(-0.3, 0.3, round(seconds * rate)).astype(np.float32) for seconds in (0.53, 1.2)]
    return [Clip(noise, None, 0.0, len(noise) / rate) for noise in noises]


def films(processor: EmpathAVProcessor) -> list[Clip]:
    """Coloured noise in two shapes."""
    random = np.random.default_rng(0)
    frames = [
        random.integers(0, 256, (processor.num_frames, height, width, 3), dtype=np.uint8)
        for height, width in ((96, 64), (64, 96))
    ]
    return [Clip(None, film, 0.0, 1.0) for film in frames]


def one_line(error: BaseException) -> str:
    """The first line of an error, without its full stop; with its kind where that is not a plain `ValueError`."""
    first = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    return first if type(error) is ValueError else f"{type(error).__name__}: {first}"
