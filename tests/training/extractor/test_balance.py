"""Which clips are drawn, and which labels compete for each."""

from collections import Counter

import pytest
import torch

from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.training.extractor.balance import balanced_shares, competing_labels
from transformers_empathav.training.extractor.dataset import BalancedSampler, EmotionDataset


def items_of(*counts):
    """`(corpus, emotion, speaker, clips)` to so many clips of each."""
    return [
        {**clip_item("a.wav", emotion, speaker), "corpus": corpus}
        for corpus, emotion, speaker, count in counts
        for _ in range(count)
    ]


ITEMS = items_of(
    ("small", "angry", "ann", 1),
    ("small", "sad", "ann", 2),
    ("large", "angry", "bob", 6),
    ("large", "happy", "bob", 1),
    ("large", "happy", "cy", 8),
)


def sums(items, shares, key):
    found = Counter()
    for item, share in zip(items, shares.tolist()):
        found[key(item)] += share
    return dict(found)


def test_corpora_emotions_and_speakers_come_alike():
    shares = balanced_shares(ITEMS)
    assert sums(ITEMS, shares, lambda item: item["corpus"]) == pytest.approx({"small": 0.5, "large": 0.5})
    found = sums(ITEMS, shares, lambda item: (item["corpus"], item["messages"][0]["emotion"]))
    assert set(found) == {("small", "angry"), ("small", "sad"), ("large", "angry"), ("large", "happy")}
    assert list(found.values()) == pytest.approx([0.25] * 4)
    speakers = sums(ITEMS[9:], shares[9:], lambda item: item["messages"][0]["speaker"])
    assert speakers == pytest.approx({"bob": 0.125, "cy": 0.125})


def test_corpora_may_count_by_their_size_or_its_root():
    for power, wanted in ((0.0, 15 / 18), (0.5, 15**0.5 / (15**0.5 + 3**0.5))):
        shares = balanced_shares(ITEMS, power)
        assert float(shares[3:].sum()) == pytest.approx(wanted) and float(shares.sum()) == pytest.approx(1.0)


def test_a_corpus_without_an_emotion_does_not_teach_that_it_is_never_shown():
    found = competing_labels(ITEMS, ["angry", "happy", "sad", "surprised"])
    assert found[0].tolist() == [True, False, True, True]  # surprised is in neither
    assert found[3].tolist() == [True, True, False, True]


def test_what_is_drawn_follows_the_shares_and_changes_with_the_epoch():
    dataset = EmotionDataset(ITEMS, None, ["angry", "happy", "sad"])
    sampler = BalancedSampler(4, dataset, seed=0, corpus_power=1.0)
    first, again = list(sampler), None
    sampler.set_epoch(0)
    again = list(sampler)
    sampler.set_epoch(1)
    assert first == again != list(sampler) and len(first) == len(ITEMS) and dataset.epoch == 1
    drawn = Counter()
    for epoch in range(200):
        sampler.set_epoch(epoch)
        drawn.update(ITEMS[row]["corpus"] for row in sampler)
    assert drawn["small"] / drawn.total() == pytest.approx(0.5, abs=0.03)


def test_listeners_take_their_share_of_the_target():
    rated = [{**ITEMS[0], "listeners": {"sad": 0.5, "happy": 0.5}}, ITEMS[1]]
    dataset = EmotionDataset(rated, None, ["angry", "happy", "sad"], listeners=0.4)
    assert torch.allclose(dataset.shares, torch.tensor([[0.6, 0.2, 0.2], [0.0, 0.0, 1.0]]))
    assert torch.equal(EmotionDataset(rated, None, ["angry", "happy", "sad"]).shares[0], torch.tensor([1.0, 0.0, 0.0]))
