"""Places as sines and cosines, so that any number of things in a row has an order (arXiv 1706.03762)."""

import torch


def sinusoids(position: torch.Tensor, width: int, longest: float = 1000.0) -> torch.Tensor:
    """
    Sines and cosines of each position, of unit mean square.

    Args:
        position (`torch.Tensor` of any shape): Numbers from 0.
        width (`int`): Size of the last dimension that is added.
        longest (`float`, *optional*, defaults to 1000): The wavelengths go from 2 pi to 2 pi times this.
    """
    rates = longest ** -torch.linspace(0, 1, (width + 1) // 2, device=position.device)
    angles = position[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width] * 2**0.5
