"""Teaching the extractor: from its vectors alone, the frozen language model has to name the emotion."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset
from transformers import DynamicCache, Trainer

from ..evaluation.emotion_metrics import emotion_metrics
from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.emotion_scores_empathav import label_prefixes
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from .augmentation import drop_streams, mask_spans
from .feature_cache import ClipFeatures, FeatureCache
from .reconstruction import LengthSampler


PART_FILE = "extractor.safetensors"


class EmotionDataset(Dataset):
    r"""
    Labelled clips as frozen features.

    Args:
        items (`list[dict]`): Conversations whose last message has a clip and an emotion.
        cache ([`FeatureCache`]): Gives the features.
        labels (`list[str]`): The emotions in the order of the model's scores.
        copies (`int`, *optional*, defaults to 0):
            Disturbed copies beside each clip; in each epoch one of them or the clip itself is read.
        only (`str`, *optional*): `"audio"` or `"video"` to give that stream alone.
    """

    def __init__(
        self, items: list[dict], cache: FeatureCache, labels: list[str], copies: int = 0, only: str | None = None
    ):
        self.items, self.cache, self.copies, self.only, self.epoch = items, cache, copies, only, 0
        self.targets = [labels.index(item["messages"][-1]["emotion"]) for item in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        copy = zlib.crc32(f"{self.epoch} {index}".encode()) % (self.copies + 1)  # alike after resuming
        windows = self.cache.load(self.items[index], copy)
        if self.only is not None:
            streams = {"audio": None, "video": None}
            windows = [ClipFeatures(**{**streams, self.only: getattr(window, self.only)}) for window in windows]
        return {"windows": windows, "label": self.targets[index]}


class ClipSampler(LengthSampler):
    """An order that depends on seed and epoch alone, as does the copy of each clip."""

    def __init__(self, batch_size: int, dataset: EmotionDataset, seed: int):
        self.dataset = dataset
        super().__init__(batch_size, [1] * len(dataset), seed)

    def set_epoch(self, epoch: int):
        super().set_epoch(epoch)
        self.dataset.epoch = epoch


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
        }
        return batch | stack_features(windows)


def stack_features(windows: list[ClipFeatures]) -> dict[str, torch.Tensor]:
    """Windows of different lengths to the extractor's inputs, in the cache's type; zeros where a stream is missing."""
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


class EmotionTraining(nn.Module):
    r"""
    The model as its trainer calls it: features in, scores of the labels out. Of the model the extractor alone learns,
    without its encoders.

    What stands before the emotion vectors in the fixed prompt never changes, so its keys and values are computed once.

    Args:
        model ([`EmpathAVForCausalLM`]): Its language model may be in a type of half the size.
        modality_dropout (`float`): Share of the clips with sound and frames that lose one of them in training.
        time_masking (`float`): Longest stretch of a clip's sound that is hidden in training, as a share of the clip.
    """

    def __init__(self, model: EmpathAVForCausalLM, modality_dropout: float = 0.0, time_masking: float = 0.0):
        super().__init__()
        self.model = model.requires_grad_(False)
        self.modality_dropout, self.time_masking = modality_dropout, time_masking
        self.through_language_model = True
        for name, parameter in self.extractor.float().named_parameters():
            parameter.requires_grad_("_tower." not in name)
        config = model.config
        if config.emotion_prompt_ids is None or config.emotion_label_ids is None:
            raise ValueError(
                "The configuration has no emotion_prompt_ids and emotion_label_ids, so there is no prompt to learn "
                "under: assemble the checkpoint with `empathav assemble`."
            )
        slot = list(config.emotion_prompt_ids).index(config.av_token_id)
        self.before, self.after = list(config.emotion_prompt_ids[:slot]), list(config.emotion_prompt_ids[slot + 1 :])
        self.prefix = None

    @property
    def extractor(self) -> nn.Module:
        return self.model.model.extractor

    def forward(self, clips: torch.LongTensor, labels: torch.LongTensor | None = None, **media) -> torch.Tensor:
        r"""
        Args:
            clips (`torch.LongTensor` of shape `(rows,)`): How many clips, in reading order, belong to each row.
            labels (`torch.LongTensor` of shape `(rows,)`, *optional*): For the trainer.
            media: What [`EmotionCollator`] gives of the clips.

        Returns:
            `torch.Tensor` of shape `(rows, labels)`: scores as `EmpathAVForCausalLM.score_emotions` gives them.
        """
        for name in ("audio_features", "video_features"):
            if name in media:
                media[name] = media[name].to(self.extractor.queries.weight.dtype)
        if self.training:
            if self.modality_dropout:
                streams = drop_streams(media["audio_mask"], media["video_mask"], self.modality_dropout)
                media["audio_mask"], media["video_mask"] = streams
            if self.time_masking and "input_features_mask" in media:
                media["input_features_mask"] = mask_spans(media["input_features_mask"], self.time_masking)
        vectors = self.extractor(**media)
        return self.label_scores(vectors, clips) if self.through_language_model else self.nearest(vectors, clips)

    def nearest(self, vectors: torch.Tensor, clips: torch.LongTensor) -> torch.Tensor:
        """
        How far a row's vectors lean towards the language model's embedding of each label: `(rows, labels)`.

        For the first epochs: it costs nothing, and a vector that resembles a word is what the model understands.
        """
        table = self.model.get_input_embeddings()
        tokens = [torch.tensor(ids, device=vectors.device) for ids in self.model.config.emotion_label_ids]
        words = torch.stack([table(ids).float().mean(dim=0) for ids in tokens])
        leaning = vectors.float().mean(dim=1) @ (words - words.mean(dim=0)).T
        row = torch.repeat_interleave(torch.arange(len(clips), device=clips.device), clips)
        return leaning.new_zeros(len(clips), len(words)).index_add(0, row, leaning) / clips[:, None]

    def label_scores(self, vectors: torch.Tensor, clips: torch.LongTensor) -> torch.Tensor:
        """`score_emotions` of the vectors `(clips, num_query_tokens, hidden)` under the fixed prompt."""
        model, config = self.model, self.model.config
        totals = torch.zeros(len(clips), len(config.emotion_labels), device=vectors.device)
        for prefix, continuations in label_prefixes(config).items():
            after = self.after + list(prefix)
            rows = [[config.av_token_id] * (count * config.num_query_tokens) + after for count in clips.tolist()]
            width = max(map(len, rows))
            padding = [width - len(row) for row in rows]
            ids = torch.tensor([after[-1:] * pad + row for pad, row in zip(padding, rows)], device=vectors.device)
            mask = torch.tensor([[0] * pad + [1] * len(row) for pad, row in zip(padding, rows)], device=vectors.device)
            mask = torch.cat([mask.new_ones(len(rows), len(self.before)), mask], dim=1)
            hidden = model.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1)[:, len(self.before) :],
                past_key_values=self._prefix(len(rows)),
                av_embeds=vectors,
                use_cache=True,
            ).last_hidden_state
            log_probs = model.lm_head(hidden[:, -1]).float().log_softmax(dim=-1)
            for label, token, length in continuations:
                totals[:, label] = totals[:, label] + log_probs[:, token] / length
        return totals

    @torch.no_grad()
    def _prefix(self, rows: int) -> DynamicCache | None:
        """Keys and values of what stands before the vectors, for `rows` rows."""
        if not self.before:
            return None
        if self.prefix is None or self.prefix[0][0].device != self.model.device:
            ids = torch.tensor([self.before], device=self.model.device)
            cache = self.model.model(input_ids=ids, use_cache=True).past_key_values
            self.prefix = [(layer.keys, layer.values) for layer in cache.layers]
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.prefix):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return cache


class EmotionTrainer(Trainer):
    r"""
    `transformers.Trainer` for an [`EmotionTraining`]: checkpoints hold the extractor without its encoders.

    Args:
        class_weights (`bool`): Whether rare emotions weigh more, in inverse proportion to how often they occur.
        label_smoothing (`float`): Share of the target that is spread over all labels.
        warmup_epochs (`float`): Epochs before the language model is asked; see [`EmotionTraining.nearest`].
    """

    def __init__(
        self, *args, class_weights: bool = True, label_smoothing: float = 0.0, warmup_epochs: float = 0.0, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.label_smoothing, self.warmup_epochs = label_smoothing, warmup_epochs
        self.weights = balanced_weights(self.train_dataset.targets, self._inner().config) if class_weights else None

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return ClipSampler(self.args.train_batch_size, dataset, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        training = self.accelerator.unwrap_model(self.model)
        training.through_language_model = (self.state.epoch or 0.0) >= self.warmup_epochs
        scores = model(**inputs)
        loss = self._loss(scores, inputs["labels"], num_items_in_batch)
        return (loss, {"scores": scores}) if return_outputs else loss

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        weights = None if self.weights is None else self.weights.to(scores.device)
        losses = nn.functional.cross_entropy(
            scores, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        # Gradients are averaged over processes, and rows counted over all of them.
        share = len(labels) if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        return losses.sum() / share

    @torch.no_grad()
    def scores(self, dataset: EmotionDataset) -> np.ndarray:
        """Probabilities `(rows, labels)` of each row, in the order of the dataset."""
        training = self.accelerator.unwrap_model(self.model)
        mode, through = training.training, training.through_language_model
        training.eval()
        training.through_language_model = True
        found = []
        for batch in self.get_eval_dataloader(dataset):
            batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
            found.append(self.accelerator.gather_for_metrics(training(**batch)).softmax(dim=-1).cpu())
        training.train(mode)
        training.through_language_model = through
        return torch.cat(found).numpy()

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        found = emotion_metrics(np.array(dataset.targets), self.scores(dataset))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir=None, state_dict=None):
        directory = Path(output_dir or self.args.output_dir)
        directory.mkdir(parents=True, exist_ok=True)
        save_part(self._inner(), directory / PART_FILE)
        torch.save(self.args, directory / "training_args.bin")

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        load_part(self._inner(), Path(resume_from_checkpoint) / PART_FILE)

    def _load_best_model(self):
        load_part(self._inner(), Path(self.state.best_model_checkpoint) / PART_FILE)

    def _inner(self) -> EmpathAVForCausalLM:
        return self.accelerator.unwrap_model(self.model).model


@torch.no_grad()
def fit_features(model: EmpathAVForCausalLM, dataset: EmotionDataset):
    """Fits the centre and spread of the encoders' channels to the clips of a training side; done before training."""
    sums: dict[str, list] = {}
    for item in dataset.items:
        for window in dataset.cache.load(item):
            for stream, features in (("audio", window.audio), ("video", window.video)):
                if features is not None:
                    features = features.flatten(1, -2).double()
                    parts = features.shape[1], features.sum(dim=1), features.square().sum(dim=1)
                    known = sums.setdefault(stream, [0, 0, 0])
                    known[:] = [old + new for old, new in zip(known, parts)]
    extractor = model.model.extractor
    for stream, (count, total, squares) in sums.items():
        mean = total / count
        spread = (squares / count - mean.square()).clamp(min=0).sqrt()
        (extractor.audio_mix if stream == "audio" else extractor.vision_mix).fit(mean, spread)


def balanced_weights(targets: list[int], config: EmpathAVConfig) -> torch.Tensor:
    """
    One weight a label, in inverse proportion to its count, with a mean of 1 over the rows.

    Raises:
        `ValueError`: a label never occurs, so it would never be learned.
    """
    counts = torch.bincount(torch.tensor(targets), minlength=len(config.emotion_labels)).float()
    if missing := [label for label, count in zip(config.emotion_labels, counts) if not count]:
        raise ValueError(
            f"No clip of the training side shows {', '.join(missing)}: add some, or train without class weights."
        )
    return counts.sum() / (len(counts) * counts)


def trained_tensors(model: EmpathAVForCausalLM) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.model.extractor.state_dict().items() if "_tower." not in name}


def save_part(model: EmpathAVForCausalLM, path: str | os.PathLike, dtype: torch.dtype | None = None):
    """Writes the extractor's weights without its encoders into one safetensors file, in `dtype` where one is given."""
    save_file(
        {name: tensor.to(dtype or tensor.dtype).contiguous() for name, tensor in trained_tensors(model).items()},
        str(path),
    )


def load_part(model: EmpathAVForCausalLM, path: str | os.PathLike):
    """
    Loads what `save_part` wrote.

    Raises:
        `ValueError`: it is the part of another configuration.
    """
    stored, own = load_file(str(path)), trained_tensors(model)
    if different := sorted(set(stored) ^ set(own)) or [name for name in own if own[name].shape != stored[name].shape]:
        raise ValueError(
            f"{path} does not fit this extractor ({', '.join(different[:4])}): it has another configuration."
        )
    model.model.extractor.load_state_dict(stored, strict=False)
