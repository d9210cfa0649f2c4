"""Labelled clips as features: brought to one size, and one stream alone."""

import pytest
import torch

from labelled import MIXED, dataset_of
from transformers_empathav.training.extractor.dataset import EmotionCollator, fit_features


def test_features_are_centred_and_brought_to_unit_spread(model, processor):
    """After fitting, what the projection reads of the training clips has mean 0 and spread 1 in every channel."""
    rows, extractor = dataset_of(model, processor, MIXED), model.model.extractor
    fit_features(model, rows)
    with torch.no_grad():
        extractor.audio_mix.logits.copy_(torch.tensor([50.0, 0.0, 0.0]))  # one layer alone
        windows = [window for index in range(len(rows)) for window in rows[index]["windows"]]
        heard = [extractor.audio_mix(window.audio[None].float())[0] for window in windows if window.audio is not None]
    heard = torch.cat(heard)
    assert heard.mean(dim=0).abs().max() < 1e-2
    assert (heard.std(dim=0, correction=0) - 1).abs().max() < 1e-2


def test_one_stream_alone_and_none_at_all(model, processor):
    heard = dataset_of(model, processor, MIXED[3:], only="audio")[0]["windows"]
    assert all(window.video is None for window in heard) and any(window.audio is not None for window in heard)
    with pytest.raises(ValueError, match="None of these clips has the stream"):
        EmotionCollator(model.config)([dataset_of(model, processor, MIXED[:1], only="video")[0]])
