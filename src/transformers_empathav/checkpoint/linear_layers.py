"""The linear layers of a language model, which adapters (LoRA) change, whatever its family calls them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from ..modeling.modeling_empathav import EmpathAVForCausalLM


LANGUAGE_MODEL = "model.language_model."
# Mamba's kernels take these weights out of their layers, past an adapter, which would then change nothing.
READ_BY_KERNELS = ("x_proj", "dt_proj", "out_proj")


def linear_layers(model: EmpathAVForCausalLM) -> list[str]:
    """Last names of the linear layers of the language model that an adapter can change, in their order."""
    names = []
    for name, module in model.named_modules():
        own = last_name(name)
        # A router of experts may be a linear layer that returns more than a product.
        if not name.startswith(LANGUAGE_MODEL) or "Router" in type(module).__name__:
            continue
        mixer = model.get_submodule(name.rpartition(".")[0])
        read_by_kernel = own in READ_BY_KERNELS and hasattr(mixer, "A_log") and hasattr(mixer, "D")
        if isinstance(module, nn.Linear | Conv1D) and not read_by_kernel:
            names.append(own)
    return list(dict.fromkeys(names))


def last_name(name: str) -> str:
    """Last part of the name of a layer or a weight, from the last one that is no number: `experts.0` of a list."""
    parts = name.split(".")
    start = max(place for place, part in enumerate(parts) if not part.isdigit())
    return ".".join(parts[start:])


def layers_pattern(names: Sequence[str]) -> str:
    """A regular expression for the layers of these last names, such as `q_proj`, in the language model alone."""
    return rf"{re.escape(LANGUAGE_MODEL)}.*\.({'|'.join(map(re.escape, names))})"


def describe_layers(model: EmpathAVForCausalLM, names: Sequence[str]) -> str:
    """A line on the layers that `names` hit, and on the matrices of the language model that stay as they are."""
    pattern = layers_pattern(names)
    hit = [name for name, _ in model.named_modules() if re.fullmatch(pattern, name)]
    table = model.get_input_embeddings().weight
    matrices = [
        name.removesuffix(".weight")
        for name, weight in model.named_parameters()
        if name.startswith(LANGUAGE_MODEL) and weight.ndim > 1 and weight is not table
    ]
    rest = [name for name in matrices if not re.fullmatch(pattern, name)]
    return f"LoRA adapts {count_names(hit)} of the language model." + (f" {count_names(rest)} stay." if rest else "")


def count_names(names: Iterable[str]) -> str:
    """How often each last name occurs."""
    return ", ".join(f"{count} {name}" for name, count in Counter(map(last_name, names)).items())
