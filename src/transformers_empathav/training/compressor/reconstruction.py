"""The main objective of the compressor: from its vectors alone, the frozen language model writes the conversation."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from ...modeling.modeling_empathav import EmpathAVForCausalLM


COLUMNS = ("none", "soft_prompt", "other", "own")


def text_losses(model: EmpathAVForCausalLM, batch: dict, vectors: torch.Tensor | None = None):
    r"""
    Cross-entropy of each taught token under the language model.

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
    """
    The module that [`CompressorTrainer`] trains: a batch of [`ReconstructionCollator`] in, the loss of each taught
    token out. It freezes the model but for the compressor, whose weights it brings to float32.
    """

    def __init__(self, model: EmpathAVForCausalLM):
        super().__init__()
        self.model = model.requires_grad_(False)
        model.model.compressor.float().requires_grad_(True)

    def forward(self, **batch) -> torch.Tensor:
        return text_losses(self.model, batch)[0]


@torch.no_grad()
def reconstruction_table(
    model: EmpathAVForCausalLM,
    loader: DataLoader,
    device: torch.device | str,
    soft_prompt: torch.Tensor | None = None,
) -> dict[str, np.ndarray]:
    r"""
    Teacher-forced losses of every row under each kind of memory: none, a trained soft prompt, another row's memory,
    and its own. [`summary`] makes figures of them.

    Args:
        loader (`DataLoader`):
            Batches of [`ReconstructionCollator`]. The other row is the neighbour in the batch; its memory is cut or
            repeated to the same number of vectors.
        device (`torch.device` or `str`): Where the model is.
        soft_prompt (`torch.Tensor` of shape `(vectors, hidden)`, *optional*): Repeated to the number of vectors.

    Returns:
        `dict`: `none`, `soft_prompt` if one is given, `other` and `own`, the summed loss of each row `(rows,)`;
        `tokens` of each row; and `correct`, how many of them are the likeliest under the own memory.
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
    """The same rows without the placeholders of the memory; positions are counted without them."""
    placeholders = batch["input_ids"] == memory_token_id
    mask = batch["attention_mask"].masked_fill(placeholders, 0)
    order = torch.argsort((~placeholders).int(), dim=1, descending=True, stable=True)
    columns = int((~placeholders).sum(dim=1).max())
    ids = batch["input_ids"].masked_fill(placeholders, 0)
    cut = {"input_ids": ids, "attention_mask": mask, "labels": batch["labels"]}
    return {name: tensor.gather(1, order)[:, :columns] for name, tensor in cut.items()}


def summary(table: dict[str, np.ndarray]) -> dict[str, float]:
    """
    Figures of a table of [`reconstruction_table`]: the loss of each column in nats a token; `worth`, the smallest of
    the others minus the own; and `accuracy`, the share of tokens that are the likeliest.
    """
    tokens = table["tokens"].sum()
    result = {name: float(table[name].sum() / tokens) for name in COLUMNS if name in table}
    result["worth"] = min(value for name, value in result.items() if name != "own") - result["own"]
    return {**result, "accuracy": float(table["correct"].sum() / tokens)}
