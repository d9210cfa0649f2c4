"""Whether a message speaks of acute danger, read from the states of the language model that is about to answer it."""

import json
import os
from collections.abc import Callable
from copy import copy
from math import ceil
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import cached_file

from ..modeling.configuration_empathav import EmpathAVConfig
from ..modeling.file_writing_empathav import write_file
from ..modeling.generation_empathav import last_user_turn


PART_FILE = "danger.safetensors"
LONGEST = 128  # tokens that are read at once; a longer message is read in parts, and its most dangerous one counts


class DangerReading(nn.Module):
    r"""
    A small network on two states of a language model after some of its layers: of the last token of a prompt, and the
    mean over the user's message that is answered. What was said before is in them. It belongs to the language model
    that it was trained on, with its adapters or without.

    Args:
        width (`int`): Hidden size of the language model.
        layer (`int`): After how many layers the states are taken.
        threshold (`float`, *optional*, defaults to 0.0): Score from which on a message counts.
        doubt (`float`, *optional*): Score from which on it may speak of danger; `threshold` by default.
        hidden (`int`, *optional*, defaults to 256): Width of the network.

    Example:

    ```python
    watch = Watch(reading, model.model.language_model, newest_message(model.config, input_ids[0].tolist()))
    logits = watch(model, input_ids=input_ids).logits
    print(watch.score)  # it cost nothing
    ```
    """

    def __init__(self, width: int, layer: int, threshold: float = 0.0, doubt: float | None = None, hidden: int = 256):
        super().__init__()
        limits = {"threshold": threshold, "doubt": threshold if doubt is None else doubt}
        self.settings = {"width": width, "layer": layer, **limits, "hidden": hidden}
        self.register_buffer("mean", torch.zeros(2 * width))
        self.register_buffer("scale", torch.ones(2 * width))
        self.network = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(2 * width, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, 1)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`(parts, 2 width)` of [`two_states`] to scores `(parts,)`."""
        return self.network((states - self.mean) / self.scale)[:, 0]

    @torch.no_grad()
    def score(self, model: PreTrainedModel, processor: ProcessorMixin, text: str) -> float:
        r"""
        How much a message speaks of acute danger, where nothing was said before it; the layers above are not run. In a
        conversation use [`Watch`], which needs no pass of its own. docs/responsible_use.md says what is missed.

        Args:
            model ([`EmpathAVForCausalLM`]): Whose language model reads.
            processor ([`EmpathAVProcessor`]): Its processor.
            text (`str`): The message.
        """
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
        language_model = model.model.language_model
        watch = Watch(self, language_model, newest_message(model.config, prompt[0].tolist()))
        watch(beginning(language_model, self.settings["layer"]), prompt.to(model.device), use_cache=False)
        return watch.score

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
            `ValueError`: the file is damaged, no such part, or of an older version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                made = cls(**json.loads((file.metadata() or {})["danger"]))
                made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} is damaged, or no part of recipes/danger.py ({error}): assemble the checkpoint again."
            ) from None
        return made.eval()


class Watch:
    r"""
    Looks on while a prompt is read, and has the `score` of its newest message afterwards, `None` before.

    Args:
        reading ([`DangerReading`]): The part.
        language_model (`PreTrainedModel`): Without its head.
        tokens (`int`): How many tokens the prompt has from its newest message on, see [`newest_message`]. All of them
            must be read in the pass that is watched.
    """

    def __init__(self, reading: DangerReading, language_model: PreTrainedModel, tokens: int):
        self.reading, self.tokens = reading, tokens
        self.layer = language_model.layers[reading.settings["layer"] - 1]
        self.score: float | None = None

    @torch.no_grad()
    def __call__(self, read: Callable, *args, **kwargs) -> Any:
        """What `read` returns with these arguments: the pass, of one row."""
        seen = []
        hook = self.layer.register_forward_hook(lambda layer, given, states: seen.append(states))
        try:
            result = read(*args, **kwargs)
        finally:
            hook.remove()
        self.score = float(self.reading(two_states(torch.cat(seen, dim=1)[0, -self.tokens :])).max())
        return result


def two_states(read: torch.Tensor) -> torch.Tensor:
    """States of a message and of what follows it in the prompt, `(tokens, width)`, to `(parts, 2 width)`."""
    parts = read.float().cpu().chunk(ceil(len(read) / LONGEST))
    return torch.stack([torch.cat([parts[-1][-1], part.mean(0)]) for part in parts])


def newest_message(config: EmpathAVConfig, ids: list[int]) -> int:
    """How many tokens a prompt has from the words of its newest message on, after the vectors of its clips."""
    turn = ids[last_user_turn(config, ids)[0] :]
    return turn[::-1].index(config.av_token_id) if config.av_token_id in turn else len(turn)


def beginning(language_model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """A language model as far as its first layers, without the norm at its end. The weights are shared."""
    part = copy(language_model)
    part._modules = dict(language_model._modules)
    part.layers, part.norm = language_model.layers[:layers], nn.Identity()
    return part
