"""Where the voice is in a clip: silence before and after it says nothing of an emotion, and corpora differ in it."""

import torch
from torch import nn


QUIET = 20.0  # dB below the loudest frame: what is quieter before the voice and after it is left out
SMOOTH = 5  # frames, of 10 ms, over which loudness is averaged
MARGIN = 5  # frames that are kept on each side


def voice_alone(input_features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Moves the sound of each clip so that it begins with the voice, and ends its mask with the voice. What it gave it
    leaves as it is, when it is given that again.

    Args:
        input_features (`torch.Tensor` of shape `(clips, mel, frames)`): Whisper's log-mel spectrograms.
        mask (`torch.Tensor` of shape `(clips, frames)`): 1 where a frame is not padding.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: both as they came, but for where sound begins and ends.
    """
    power = (10.0 ** (4 * input_features.float() - 4)).sum(dim=1, keepdim=True)  # undoes Whisper's (log10 + 4) / 4
    power = nn.functional.avg_pool1d(power * (mask[:, None] != 0), SMOOTH, stride=1, padding=SMOOTH // 2)[:, 0]
    level = (10 * power.log10()).masked_fill(mask == 0, -torch.inf)
    loud = (level >= level.amax(dim=1, keepdim=True) - QUIET) & (mask != 0)
    position = torch.arange(mask.shape[1], device=mask.device)
    first = torch.where(loud, position, mask.shape[1]).amin(dim=1, keepdim=True) - MARGIN
    last = torch.where(loud, position, -1 - MARGIN).amax(dim=1, keepdim=True) + MARGIN
    first, last = first.clamp(min=0), torch.minimum(last, mask.long().sum(dim=1, keepdim=True) - 1)
    moved = (position + first).clamp(max=mask.shape[1] - 1)
    return (
        input_features.gather(2, moved[:, None].expand_as(input_features)),
        (position <= last - first).to(mask.dtype),
    )
