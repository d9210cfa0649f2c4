"""
What the cache of frozen features saves an epoch of the extractor's training, and how long a clip takes to be judged.

    python benchmarks/extractor.py [--clips 64]

Needs build/smollm2-135m. Voices are RAVDESS of the folder that EMPATHAV_DATA names, or made ones where it is unset.
The clip that is timed is made: 4 s, 640x360, 30 frames per second with sound, from the file to seven probabilities.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.data.clips.corpus import load_clip_corpus
from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.emotion.clip_reader import EmotionReader
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.feature_cache import FeatureCache


ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
CHECKPOINT = ROOT / "build" / "smollm2-135m"
BATCH, RUNS, SECONDS = 32, 7, 4.0


def scene(index):
    """A moving gradient with some grain, as hard to decode as a talking head."""
    rng = np.random.default_rng(index)
    picture = np.add.outer(np.arange(360) // 3, (np.arange(640) + 4 * index) // 5 % 128)[..., None]
    return (picture + rng.integers(0, 8, (360, 640, 3))).astype(np.uint8)


def voices(count, folder):
    """Clips of one voice each: real ones where there are any."""
    if "EMPATHAV_DATA" in os.environ:
        items = load_clip_corpus("ravdess_audio")
        return items[:: max(len(items) // count, 1)][:count]
    from clips import write_clip

    return [
        clip_item(
            write_clip(Path(folder) / f"{index}.m4a", seconds=3.5, fps=None, frequency=100 + 7 * index),
            EMOTION_LABELS[index % len(EMOTION_LABELS)],
        )
        for index in range(count)
    ]


def epoch(training, items, cache):
    """Seconds that features and training steps of one pass over the clips take."""
    rows = EmotionDataset(items, cache, list(EMOTION_LABELS))
    collate = EmotionCollator(training.model.config)
    optimizer = torch.optim.AdamW([weight for weight in training.parameters() if weight.requires_grad], lr=0.0)
    features = steps = 0.0
    for start in range(0, len(items), BATCH):
        began = time.perf_counter()
        batch = collate([rows[index] for index in range(start, min(start + BATCH, len(items)))])
        loaded = time.perf_counter()
        torch.nn.functional.cross_entropy(training(**batch), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        features, steps = features + loaded - began, steps + time.perf_counter() - loaded
    return features, steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=64)
    count = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        from clips import write_clip

        model = EmpathAVForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.bfloat16)
        processor = EmpathAVProcessor.from_pretrained(CHECKPOINT)
        training, items = EmotionTraining(model).train(), voices(count, folder)
        cache = FeatureCache(model.model.extractor, processor, Path(folder) / "features")
        plain = FeatureCache(model.model.extractor, processor)
        cache.prepare(items, progress=False)
        epoch(training, items[:BATCH], cache)  # the first step of a process allocates
        uncached = epoch(training, items, plain)
        cached = epoch(training, items, cache)
        del model, training, cache, plain

        film = write_clip(Path(folder) / "film.mp4", seconds=SECONDS, size=(640, 360), key_every=250, picture=scene)
        reader, seconds = EmotionReader(CHECKPOINT), []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            reader(film)
            seconds.append(time.perf_counter() - began)
        latency = statistics.median(seconds[1:])
    print(f"{count} clips, batches of {BATCH}{'features':>24}{'training steps':>18}   (seconds an epoch)")
    for name, (features, steps) in (("uncached", uncached), ("cached", cached)):
        print(f"{name:<28}{features:>18.2f}{steps:>18.2f}")
    print(f"a clip of {SECONDS:g} s, file to emotion: {latency:.2f} s, the first {seconds[0]:.2f} s")
    figures = {
        "uncached_features_s": uncached[0],
        "cached_features_s": cached[0],
        "uncached_epoch_s": sum(uncached),
        "cached_epoch_s": sum(cached),
        "cached_feature_share": cached[0] / sum(cached),
        "clip_latency_s": latency,
        "realtime_factor": SECONDS / latency,
    }
    print(json.dumps({"benchmark": "extractor", "cpus": os.cpu_count(), "clips": count} | figures))


if __name__ == "__main__":
    main()
