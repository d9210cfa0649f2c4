"""Labelled clips as batches of frozen features."""

import zlib
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from ...modeling.configuration_empathav import EmpathAVConfig
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from ..clip_features import ClipFeatures, stack_features, statistics_of
from ..feature_cache import FeatureCache
from ..sampler import LengthSampler
from .balance import balanced_shares, competing_labels


class EmotionDataset(Dataset):
    r"""
    Labelled clips as frozen features: `{"id", "windows", "label", "target", "competing"}`, the item's id, a list of
    [`ClipFeatures`], an index into `labels`, and for each label its share of the target and whether it competes
    ([`competing_labels`]).

    Args:
        items (`list[dict]`): Conversations whose last message has a clip and an emotion.
        cache ([`FeatureCache`]): Gives the features.
        labels (`list[str]`): The emotions in the order of the model's scores.
        copies (`int`, *optional*, defaults to 0):
            Disturbed copies beside each clip. In each epoch the clip itself or one of them is read.
        only (`str`, *optional*): `"audio"` or `"video"` to give that stream alone.
        listeners (`float`, *optional*, defaults to 0.0):
            Share of the target that goes to what listeners heard, where a clip has `"listeners"`.

    Attributes:
        targets (`list[int]`): The emotion of each clip, as an index into `labels`.
        shares, competing (`torch.Tensor` of shape `(clips, labels)`): Of the target, and whether a label competes.
    """

    def __init__(
        self,
        items: list[dict],
        cache: FeatureCache,
        labels: list[str],
        copies: int = 0,
        only: str | None = None,
        listeners: float = 0.0,
    ):
        self.items, self.cache, self.copies, self.only, self.epoch = items, cache, copies, only, 0
        self.targets = [labels.index(item["messages"][-1]["emotion"]) for item in items]
        self.shares = torch.nn.functional.one_hot(torch.tensor(self.targets), len(labels)).float()
        for row, item in enumerate(items):
            if listeners and "listeners" in item:
                heard = torch.tensor([item["listeners"].get(label, 0.0) for label in labels])
                self.shares[row] = (1 - listeners) * self.shares[row] + listeners * heard
        self.competing = competing_labels(items, labels)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        copy = zlib.crc32(f"{self.epoch} {index}".encode()) % (self.copies + 1)  # the same after resuming
        windows = self.cache.load(self.items[index], copy)
        if self.only is not None:
            streams = {"audio": None, "video": None}
            windows = [ClipFeatures(**{**streams, self.only: getattr(window, self.only)}) for window in windows]
        return {
            "id": self.items[index]["id"],
            "windows": windows,
            "label": self.targets[index],
            "target": self.shares[index],
            "competing": self.competing[index],
        }


class ClipSampler(LengthSampler):
    """A random order that depends on seed and epoch alone; it tells the dataset the epoch, which picks the copies."""

    def __init__(self, batch_size: int, dataset: EmotionDataset, seed: int):
        self.dataset = dataset
        super().__init__(batch_size, [1] * len(dataset), seed)

    def set_epoch(self, epoch: int):
        super().set_epoch(epoch)
        self.dataset.epoch = epoch


class BalancedSampler(ClipSampler):
    r"""
    Draws as many clips as there are, with replacement, so that corpora, emotions and speakers come alike.

    Args:
        batch_size (`int`): Of a step.
        dataset ([`EmotionDataset`]): Whose clips are drawn.
        seed (`int`): Of what is drawn; the epoch counts too.
        corpus_power (`float`): See [`balanced_shares`].
    """

    def __init__(self, batch_size: int, dataset: EmotionDataset, seed: int, corpus_power: float):
        super().__init__(batch_size, dataset, seed)
        self.shares = balanced_shares(dataset.items, corpus_power)

    def __iter__(self):
        drawn = torch.multinomial(self.shares, len(self.shares), replacement=True, generator=self.generator)
        return iter(drawn.tolist())


@dataclass
class EmotionCollator:
    r"""
    Rows of [`EmotionDataset`] to the inputs of [`EmotionTraining`].

    Args:
        config ([`EmpathAVConfig`]): Of the model.
    """

    config: EmpathAVConfig

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        windows = [window for row in rows for window in row["windows"]]
        batch = {
            "clips": torch.tensor([len(row["windows"]) for row in rows]),
            "labels": torch.tensor([row["label"] for row in rows]),
            "targets": torch.stack([row["target"] for row in rows]),
            "competing": torch.stack([row["competing"] for row in rows]),
        }
        return batch | stack_features(windows)


@torch.no_grad()
def fit_features(
    model: EmpathAVForCausalLM, dataset: EmotionDataset, gain: float = 1.0, voice: torch.Tensor | None = None
):
    r"""
    Standardises what the extractor reads: the mean and spread of each channel of the encoders, and of its statistics
    over a clip, are measured over the training side. Call it before each training; a resumed run may call it again.

    Args:
        model ([`EmpathAVForCausalLM`]): Its extractor changes.
        dataset ([`EmotionDataset`]): The training side; its disturbed copies take no part.
        gain (`float`, *optional*, defaults to 1.0): How fast the projection of statistics then learns.
        voice (`torch.Tensor` of shape `(layers, 2)`, *optional*):
            True for the statistics of a voice that are read, see [`LayerStatistics.fit`]; all by default.
    """
    extractor = model.model.extractor
    parts = {
        "audio": (extractor.audio_mix, extractor.audio_statistics),
        "video": (extractor.vision_mix, extractor.vision_statistics),
    }
    found = {stream: [] for stream in parts}
    for item in dataset.items:
        for window in dataset.cache.load(item):
            for stream in parts:
                if (features := getattr(window, stream)) is not None:
                    found[stream].append((features.flatten(1, -2).shape[1], statistics_of(features).double()))
    for stream, (mix, over_time) in parts.items():
        if not found[stream]:
            continue
        counts, clips = zip(*found[stream])
        shares, clips = torch.tensor(counts).double()[:, None, None] / sum(counts), torch.stack(clips)
        means, spreads = clips.unbind(dim=2)
        mean = (shares * means).sum(dim=0)
        spread = ((shares * (spreads.square() + means.square())).sum(dim=0) - mean.square()).clamp(min=0).sqrt()
        mix.fit(mean, spread)
        read = voice if stream == "audio" else None
        over_time.fit(clips.mean(dim=0), clips.std(dim=0, correction=0), gain, read)
