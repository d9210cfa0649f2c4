"""Teaching the compressor: from its vectors alone, the frozen language model has to write the conversation again."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor
from ..recall import memory_frame
from .part_trainer import PartTrainer


COLUMNS = ("none", "soft_prompt", "other", "own")


@dataclass
class ReconstructionCollator:
    r"""
    Windows of messages to the inputs of `EmpathAVForCausalLM`: the compressor reads the window, the language model
    sees its vectors in a system turn and is taught the words of each message after its role.

    Args:
        processor ([`EmpathAVProcessor`]): Encodes both.
        max_tokens (`int`, *optional*, defaults to 64): Longest message, in tokens; a longer one is cut for both sides.
        verbatim (`int`, *optional*):
            For comparison: so many of the newest messages as text in place of the memory; 0 for neither.
        emotions (`float`, *optional*, defaults to 0.0):
            Share of the messages with an emotion whose emotion the compressor reads, as it does in use; drawn anew
            each time.
    """

    processor: EmpathAVProcessor
    max_tokens: int = 64
    verbatim: int | None = None
    emotions: float = 0.0

    def __call__(self, windows: list[list[dict]]) -> dict[str, torch.Tensor]:
        tokenizer = self.processor.tokenizer
        windows = [[self._shorten(message) for message in window] for window in windows]
        batch = {} if self.verbatim is not None else dict(self.processor.encode_history(windows))
        before, after = memory_frame(self.processor)
        rows, labels = [], []
        for window in windows:
            memory = self._memory(window)
            row, target = before + memory + after, [-100] * (len(before) + len(memory) + len(after))
            for message in window:
                role = tokenizer(f"{message['role']}:", add_special_tokens=False)["input_ids"]
                words = tokenizer(f" {message['content']}\n", add_special_tokens=False)["input_ids"]
                row, target = row + role + words, target + [-100] * len(role) + words
            rows.append(row)
            labels.append(target)
        width = max(map(len, rows))
        batch["input_ids"] = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        batch["attention_mask"] = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        batch["labels"] = torch.tensor([target + [-100] * (width - len(target)) for target in labels])
        return batch

    def _memory(self, window: list[dict]) -> list[int]:
        if self.verbatim is None:
            return [self.processor.memory_token_id] * (len(window) * self.processor.memory_tokens_per_utterance)
        newest = window[len(window) - min(self.verbatim, len(window)) :]
        text = "".join(f"{message['role']}: {message['content']}\n" for message in newest)
        return self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _shorten(self, message: dict) -> dict:
        content = message["content"]
        ids = self.processor.tokenizer(content, add_special_tokens=False)["input_ids"]
        if len(ids) > self.max_tokens:
            content = self.processor.tokenizer.decode(ids[: self.max_tokens]).strip()
        short = {"role": message["role"], "content": content}
        if "emotion" in message and random.random() < self.emotions:
            short["emotion"] = message["emotion"]
        return short


def text_losses(model: EmpathAVForCausalLM, batch: dict, vectors: torch.Tensor | None = None):
    r"""
    Cross-entropy of each taught token.

    Args:
        batch (`dict`): Of [`ReconstructionCollator`].
        vectors (`torch.Tensor` of shape `(memory placeholders, hidden)`, *optional*): In place of the compressor's.

    Returns:
        `tuple`: losses `(tokens,)`, whether each token is the likeliest `(tokens,)`, and the row of each `(tokens,)`.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if vectors is not None:
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    hidden = model.model(**inputs, memory_embeds=vectors, use_cache=False).last_hidden_state
    taught = batch["labels"][:, 1:] != -100
    logits = model.lm_head(hidden[:, :-1][taught]).float()  # the head is a fifth of the work: only where it is needed
    targets = batch["labels"][:, 1:][taught]
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return losses, logits.argmax(dim=-1) == targets, taught.nonzero()[:, 0]


class Reconstruction(nn.Module):
    """The model as its trainer calls it: a batch in, losses of its taught tokens out. Only the compressor learns."""

    def __init__(self, model: EmpathAVForCausalLM):
        super().__init__()
        self.model = model.requires_grad_(False)
        model.model.compressor.float().requires_grad_(True)

    def forward(self, **batch) -> torch.Tensor:
        return text_losses(self.model, batch)[0]


class LengthSampler(LengthGroupedSampler):
    """Batches of about equal length, which saves half of the padding; the order depends on seed and epoch alone."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int):
        self.generator = torch.Generator().manual_seed(self.seed + epoch)


class CompressorTrainer(PartTrainer):
    """
    `transformers.Trainer` for a [`Reconstruction`]: checkpoints hold the compressor alone.

    Evaluation gives the columns `none`, `other`, `own` and their difference, the memory's worth; a trained soft prompt
    joins them in `benchmarks/worth.py`.
    """

    part = "compressor"

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = [sum(len(message["content"]) for message in window) for window in dataset]
        return LengthSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps, lengths, self.args.seed
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        losses = model(**inputs)
        # Gradients are averaged over processes, and tokens counted over all of them.
        share = losses.numel() if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        loss = losses.sum() / share
        return (loss, {}) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        loader = self.get_eval_dataloader(eval_dataset)
        table = reconstruction_table(self._inner(), loader, self.accelerator.device)
        return self.report(summary(table), metric_key_prefix)


@torch.no_grad()
def reconstruction_table(
    model: EmpathAVForCausalLM,
    loader: DataLoader,
    device: torch.device | str,
    soft_prompt: torch.Tensor | None = None,
) -> dict[str, np.ndarray]:
    r"""
    Teacher-forced losses of every row under each kind of memory.

    Args:
        loader (`DataLoader`): Batches of [`ReconstructionCollator`]; a row's "other" memory is its neighbour's, cut or
            repeated to the same number of vectors.
        soft_prompt (`torch.Tensor` of shape `(vectors, hidden)`, *optional*): Trained vectors, repeated to the length.

    Returns:
        `dict`: for each column the summed loss of each row `(rows,)`; `tokens` and, of the own memory, `correct`.
    """
    training = model.training
    model.eval()
    table = {name: [] for name in (*COLUMNS, "tokens", "correct") if name != "soft_prompt" or soft_prompt is not None}
    for batch in loader:
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        rows = len(batch["input_ids"])

        def per_row(values, row, rows=rows):
            return torch.zeros(rows, dtype=torch.float64).index_add(0, row.cpu(), values.double().cpu()).numpy()

        memory = model.compress(batch["history_input_ids"], batch["history_attention_mask"])
        others = memory.select(torch.arange(rows, device=device).roll(1))
        position = torch.arange(memory.vectors.shape[1], device=device) % others.lengths[:, None].clamp(min=1)
        swapped = others.vectors.gather(1, position[..., None].expand_as(others.vectors))[memory.mask()]
        for name, vectors in (("own", memory.flat()), ("other", swapped)):
            losses, correct, row = text_losses(model, batch, vectors=vectors)
            table[name].append(per_row(losses, row))
            if name == "own":
                table["correct"].append(per_row(correct, row))
                table["tokens"].append(per_row(torch.ones_like(losses), row))
        if soft_prompt is not None:
            order = torch.cat([torch.arange(length) % len(soft_prompt) for length in memory.lengths.tolist()])
            losses, _, row = text_losses(model, batch, vectors=soft_prompt[order.to(device)])
            table["soft_prompt"].append(per_row(losses, row))
        bare = without_memory(batch, model.config.memory_token_id)
        losses, _, row = text_losses(model, bare, vectors=memory.vectors.new_zeros(0, memory.vectors.shape[-1]))
        table["none"].append(per_row(losses, row))
    model.train(training)
    return {name: np.concatenate(values) for name, values in table.items()}


def without_memory(batch: dict[str, torch.Tensor], memory_token_id: int) -> dict[str, torch.Tensor]:
    """The same rows with the placeholders of the memory masked out of sight; positions are counted without them."""
    placeholders = batch["input_ids"] == memory_token_id
    mask = batch["attention_mask"].masked_fill(placeholders, 0)
    order = torch.argsort((~placeholders).int(), dim=1, descending=True, stable=True)
    columns = int((~placeholders).sum(dim=1).max())
    ids = batch["input_ids"].masked_fill(placeholders, 0)
    cut = {"input_ids": ids, "attention_mask": mask, "labels": batch["labels"]}
    return {name: tensor.gather(1, order)[:, :columns] for name, tensor in cut.items()}


def summary(table: dict[str, np.ndarray]) -> dict[str, float]:
    """Losses in nats a token, the share of tokens that are the likeliest, and the worth of the memory."""
    tokens = table["tokens"].sum()
    result = {name: float(table[name].sum() / tokens) for name in COLUMNS if name in table}
    result["worth"] = min(value for name, value in result.items() if name != "own") - result["own"]
    return {**result, "accuracy": float(table["correct"].sum() / tokens)}
