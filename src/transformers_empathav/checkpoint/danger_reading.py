"""Whether a message speaks of acute danger, read from the states of the language model."""

import json
import os
from collections.abc import Sequence
from copy import copy

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from ..modeling.file_writing_empathav import write_file


PART_FILE = "danger.safetensors"
LONGEST = 128  # tokens that are read at once; a longer message is read in parts, and its most dangerous one counts


class DangerReading(nn.Module):
    r"""
    A small network on two states of a language model after some of its layers: of the last token, and the mean. It
    belongs to the language model that it was trained on, with its adapters or without. The layers above are not run.

    Args:
        width (`int`): Hidden size of the language model.
        layer (`int`): After how many layers the states are taken.
        frame (`str`): What stands around a message, such as the markup of a user's turn, with `{}` for the message.
        threshold (`float`, *optional*, defaults to 0.0): Score from which on a message counts.
        doubt (`float`, *optional*): Score from which on it may speak of danger; `threshold` by default.
        hidden (`int`, *optional*, defaults to 64): Width of the network.
    """

    def __init__(
        self,
        width: int,
        layer: int,
        frame: str,
        threshold: float = 0.0,
        doubt: float | None = None,
        hidden: int = 64,
    ):
        super().__init__()
        limits = {"threshold": threshold, "doubt": threshold if doubt is None else doubt}
        self.settings = {"width": width, "layer": layer, "frame": frame, **limits, "hidden": hidden}
        self.register_buffer("mean", torch.zeros(2 * width))
        self.register_buffer("scale", torch.ones(2 * width))
        self.network = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(2 * width, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, 1)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`(batch, 2 width)` of [`~DangerReading.states`] to scores `(batch,)`."""
        return self.network((states - self.mean) / self.scale)[:, 0]

    @torch.no_grad()
    def states(self, language_model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        r"""
        The states of messages of different length.

        Args:
            language_model (`PreTrainedModel`): Without its head.
            rows (`Sequence[Sequence[int]]`): Token ids of [`~DangerReading.rows`].

        Returns:
            `torch.Tensor` of shape `(rows, 2 width)`, in float32 on the CPU.
        """
        longest, device = max(map(len, rows)), language_model.device
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
        read = beginning(language_model, self.settings["layer"])(
            input_ids=ids,
            attention_mask=None if bool(mask.all()) else mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        mean = (read * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.cat([read[:, -1], mean], dim=1).float().cpu()

    def rows(self, tokenizer: PreTrainedTokenizerBase, text: str) -> list[list[int]]:
        """Token ids of a message in its frame; of several parts where it is long."""
        before, after = (
            tokenizer(part, add_special_tokens=False)["input_ids"] for part in self.settings["frame"].split("{}")
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return [[*before, *ids[start : start + LONGEST], *after] for start in range(0, max(len(ids), 1), LONGEST)]

    @torch.no_grad()
    def score(self, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> float:
        """How much a message speaks of acute danger. Not on its own: docs/responsible_use.md says what is missed."""
        return float(self(self.states(language_model, self.rows(tokenizer, text))).max())

    def save(self, path: str | os.PathLike):
        """Writes the part, in float32, with its settings."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_file(path, save(tensors, {"danger": json.dumps(self.settings)}))

    @classmethod
    def of(cls, checkpoint: str | os.PathLike) -> "DangerReading | None":
        """The part of a checkpoint, a directory or Hub id; `None` where it has none."""
        missing = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        path = cached_file(str(checkpoint), PART_FILE, **missing)
        return None if path is None else cls.load(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "DangerReading":
        """
        Reads a part, in evaluation mode.

        Raises:
            `ValueError`: the file is damaged or no such part.
        """
        try:
            with safe_open(path, framework="pt") as file:
                settings = json.loads((file.metadata() or {})["danger"])
                settings["doubt"]  # a part without it is of an older version, and reads other states
                made = cls(**settings)
                made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} is damaged, or no part of recipes/danger.py ({error}): assemble the checkpoint again."
            ) from None
        return made.eval()


def beginning(language_model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """A language model as far as its first layers, without the norm at its end. The weights are shared."""
    part = copy(language_model)
    part._modules = dict(language_model._modules)
    part.layers, part.norm = language_model.layers[:layers], nn.Identity()
    return part
