"""Augmentation of features in training: whole streams and stretches of sound are hidden."""

import torch


def drop_streams(
    audio_mask: torch.Tensor, video_mask: torch.Tensor, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Modality dropout: of clips that have both streams, `share` lose one of them, either with equal chance.

    Args:
        audio_mask, video_mask (`torch.Tensor` of shape `(clips,)`): 1 where the clip has that stream.
        share (`float`): Of such clips.

    Returns:
        `tuple`: both masks with zeros where a stream is hidden.
    """
    both = audio_mask.bool() & video_mask.bool()
    draw = torch.rand(len(both), device=both.device)
    without_sound, without_frames = draw < share / 2, (draw >= share / 2) & (draw < share)
    return audio_mask.masked_fill(both & without_sound, 0), video_mask.masked_fill(both & without_frames, 0)


def mask_spans(mask: torch.Tensor, share: float, spans: int = 2) -> torch.Tensor:
    r"""
    SpecAugment (arXiv 1904.08779) in time: hides up to `spans` stretches of tokens, each up to `share` of the clip.

    Args:
        mask (`torch.Tensor` of shape `(clips, tokens)`): 1 where there is sound, from the first token on.
        share (`float`): Longest stretch, as a share of the clip's tokens.
        spans (`int`, *optional*, defaults to 2): Stretches; they may overlap.

    Returns:
        `torch.Tensor` of shape `(clips, tokens)`: the mask with zeros where sound is hidden.
    """
    lengths = mask.sum(dim=1)
    position = torch.arange(mask.shape[1], device=mask.device)
    for _ in range(spans):
        width, start = torch.rand(2, len(mask), device=mask.device)
        width = (width * share * lengths).long()
        start = (start * (lengths - width)).long()
        hidden = (position >= start[:, None]) & (position < (start + width)[:, None])
        mask = mask.masked_fill(hidden, 0)
    return mask
