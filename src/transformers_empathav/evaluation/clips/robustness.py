"""How well emotions are recognised when the sound or the frames of a clip are disturbed."""

import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...measures.recognition import emotion_metrics
from ...processing.media_empathav import Clip
from ...training.clip_features import stack_features
from ...training.disturbance import add_noise
from ...training.extractor.objective import EmotionTraining
from ...training.feature_cache import FeatureCache
from .plots import plot_robustness


def noisy(clip: Clip, snr: float, rng: np.random.Generator) -> Clip:
    """The clip with pink noise, `snr` dB below the mean power of its sound."""
    return replace(clip, audio=add_noise(clip.audio, snr, rng, tilt=1.0))


def without_half_the_sound(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip with the first or the second half of its sound silent, either with equal chance."""
    audio, middle = clip.audio.copy(), len(clip.audio) // 2
    audio[slice(0, middle) if rng.random() < 0.5 else slice(middle, None)] = 0
    return replace(clip, audio=audio)


def with_dropped_frames(clip: Clip, share: float, rng: np.random.Generator) -> Clip:
    """The clip with a share of its frames lost: the frame before stands in their place, as in a player that stalls."""
    kept = rng.random(len(clip.frames)) >= share
    kept[0] = True
    return replace(clip, frames=clip.frames[np.maximum.accumulate(np.where(kept, np.arange(len(kept)), 0))])


def without_a_face(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip with the pixels of each frame in random order: as bright as before, without a face."""
    frames = clip.frames.reshape(len(clip.frames), -1, clip.frames.shape[-1])
    return replace(clip, frames=rng.permuted(frames, axis=1).reshape(clip.frames.shape))


# Name of the disturbance, level, which stream it needs, and what is done.
DISTURBANCES = [
    ("noise", "20 dB", "audio", lambda clip, rng: noisy(clip, 20.0, rng)),
    ("noise", "10 dB", "audio", lambda clip, rng: noisy(clip, 10.0, rng)),
    ("noise", "0 dB", "audio", lambda clip, rng: noisy(clip, 0.0, rng)),
    ("sound", "half missing", "audio", without_half_the_sound),
    ("frames", "half dropped", "frames", lambda clip, rng: with_dropped_frames(clip, 0.5, rng)),
    ("frames", "nine in ten dropped", "frames", lambda clip, rng: with_dropped_frames(clip, 0.9, rng)),
    ("frames", "no face", "frames", without_a_face),
]


@torch.no_grad()
def disturbed_scores(training: EmotionTraining, cache: FeatureCache, items: list[dict]) -> dict[str, dict]:
    r"""
    Scores of clips as they are and under each disturbance that their streams allow.

    Args:
        training ([`EmotionTraining`]): Holds the trained extractor.
        cache ([`FeatureCache`]): Decodes and encodes; disturbed clips are not kept in its folder.
        items (`list[dict]`): Conversations whose last message has a clip.

    Returns:
        `dict[str, dict[str, np.ndarray]]`: `{disturbance: {level: probabilities (items, labels)}}`, the clips as they
        are under `"clean"` and `""`.
    """
    training.eval()
    decoded = [cache.decode(item) for item in items]
    found = {"clean": {"": np.stack([score(training, cache, windows) for windows in decoded])}}
    for kind, level, stream, disturb in DISTURBANCES:
        if any(getattr(window, stream) is None for windows in decoded for window in windows):
            continue
        rows = []
        for item, windows in zip(items, decoded):
            rng = np.random.default_rng(zlib.crc32(f"{item['id']} {kind} {level}".encode()))
            rows.append(score(training, cache, [disturb(window, rng) for window in windows]))
        found.setdefault(kind, {})[level] = np.stack(rows)
    return found


def score(training: EmotionTraining, cache: FeatureCache, windows: list[Clip]) -> np.ndarray:
    """Probabilities `(labels,)` of one clip."""
    batch = {"clips": torch.tensor([len(windows)])} | stack_features(cache.encode(windows))
    batch = {name: tensor.to(training.model.device) for name, tensor in batch.items()}
    return training.probabilities(training(**batch))[0].cpu().numpy()


def write_robustness(
    directory: str | os.PathLike, targets: list[int], folds: list[dict[str, dict[str, np.ndarray]]]
) -> str:
    r"""
    Writes `robustness.json`, `robustness.md` and `robustness.png`.

    Args:
        targets (`list[int]`): The emotion of each clip, as an index, of all folds one after the other.
        folds (`list[dict]`): Of [`disturbed_scores`], for the clips of each fold. Only disturbances that the clips of
            all folds allow are in the table.

    Returns:
        `str`: The table as text.
    """
    table = {}
    for kind, levels in folds[0].items():
        for level in levels:
            if all(level in fold.get(kind, {}) for fold in folds):
                scores = np.concatenate([fold[kind][level] for fold in folds])
                table.setdefault(kind, {})[level] = emotion_metrics(np.array(targets), scores)
    lines = [f"{len(targets)} held-out clips.", "", "| | accuracy | UAR |", "| --- | ---: | ---: |"]
    for kind, levels in table.items():
        lines += [
            f"| {f'{kind} {level}'.strip()} | {row['accuracy']:.3f} | {row['uar']:.3f} |"
            for level, row in levels.items()
        ]
    text, directory = "\n".join(lines) + "\n", Path(directory)
    (directory / "robustness.json").write_text(json.dumps({"clips": len(targets), "table": table}, indent=1))
    (directory / "robustness.md").write_text(text)
    curves = {kind: {level: row["accuracy"] for level, row in levels.items()} for kind, levels in table.items()}
    plot_robustness(curves, directory / "robustness.png")
    return text
