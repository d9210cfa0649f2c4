"""Dropout by a number that a layer holds, as OPT's and MPT's: TRL's `disable_dropout` knows modules alone."""

from torch import nn


def disable_functional_dropout(model: nn.Module):
    """Sets every such number to zero, so that a reference and a policy of equal weights agree."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
