"""Converts decoded clips to the inputs of audio and vision encoder."""

import numpy as np
from transformers import BaseImageProcessor
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .media_empathav import Clip


def encode_clips(
    clips: list[Clip], feature_extractor: FeatureExtractionMixin, image_processor: BaseImageProcessor
) -> dict[str, np.ndarray]:
    r"""
    Computes audio features and pixel values of clips, with zeros where a clip lacks one of the streams.

    Args:
        clips (`list[Clip]`): The clips of all rows in reading order.
        feature_extractor (`FeatureExtractionMixin`): Converts the sound.
        image_processor (`BaseImageProcessor`): Converts the frames.

    Returns:
        `dict`: `audio_mask` and `video_mask` `(clips,)`. If any clip has sound, `input_features` `(clips, mel,
            frames)` and `input_features_mask` `(clips, frames)`. If any has frames, `pixel_values_videos` `(clips,
            frames, 3, height, width)`.

    Raises:
        `ValueError`: If clips differ in their number of frames.
    """
    heard = np.array([clip.audio is not None for clip in clips])
    seen = np.array([clip.frames is not None for clip in clips])
    data = {"audio_mask": heard.astype(np.int64), "video_mask": seen.astype(np.int64)}
    if heard.any():
        sound = feature_extractor(
            [clip.audio for clip in clips if clip.audio is not None],
            sampling_rate=feature_extractor.sampling_rate,
            return_attention_mask=True,
            return_tensors="np",
        )
        data["input_features"] = spread(sound[feature_extractor.model_input_names[0]], heard)
        data["input_features_mask"] = spread(sound["attention_mask"], heard).astype(np.int64)
    if seen.any():
        shown = [clip.frames for clip in clips if clip.frames is not None]
        if len(counts := sorted({len(frames) for frames in shown})) > 1:
            raise ValueError(
                f"Clips of {' and '.join(map(str, counts))} frames cannot be mixed: load all of them by the same "
                "processor.load_clip."
            )
        pixels = image_processor(images=[frame for frames in shown for frame in frames], return_tensors="np")
        pixels = pixels["pixel_values"]
        data["pixel_values_videos"] = spread(pixels.reshape(len(shown), counts[0], *pixels.shape[1:]), seen)
    return data


def spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Puts the rows of `values` where the boolean `where` is true, and zeros elsewhere."""
    full = np.zeros((len(where), *values.shape[1:]), dtype=values.dtype)
    full[where] = values
    return full
