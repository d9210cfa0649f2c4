"""Augmentation of features: which streams and stretches of sound are hidden."""

import torch

from transformers_empathav.training.extractor.augmentation import drop_streams, mask_spans


def test_modality_dropout_leaves_every_clip_a_stream():
    torch.manual_seed(0)
    audio, video = torch.ones(2000), torch.ones(2000)
    audio[:500], video[1500:] = 0, 0
    heard, seen = drop_streams(audio, video, 0.5)
    assert ((heard + seen) >= 1).all() and (heard <= audio).all() and (seen <= video).all()
    lost = 1000 - int((heard * seen).sum())
    assert 400 < lost < 600 and 150 < int((audio - heard).sum()) < 350


def test_time_masking_hides_stretches_of_the_sound_alone():
    torch.manual_seed(0)
    mask = torch.zeros(64, 50, dtype=torch.long)
    mask[:, :40] = 1
    hidden = mask - mask_spans(mask, share=0.3)
    assert (hidden >= 0).all() and not hidden[:, 40:].any()
    assert hidden.sum() > 0 and hidden.sum(dim=1).max() <= 2 * 0.3 * 40
