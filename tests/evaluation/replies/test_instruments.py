"""Instruments: what a language model measured is kept by what was said, and by the model."""

import numpy as np

from helpers import user
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies.instruments import CachedLikelihood, Remembered


PROMPTS, REPLIES, PAIRS = [[user("a")], [user("b")]], ["x", "y"], [(0, 0), (1, 0), (0, 1)]


def test_likelihoods_are_measured_once_for_each_model_and_text(tmp_path):
    asked = []

    def likelihood(prompts, replies, pairs):
        asked.extend(pairs)
        return np.array([[10.0 * prompt + reply, 1.0] for prompt, reply in pairs])

    found = CachedLikelihood(likelihood, "one", ContentCache(tmp_path / "cache"))(PROMPTS, REPLIES, PAIRS)
    assert found.tolist() == [[0, 1], [10, 1], [1, 1]] and asked == [(0, 0), (0, 1), (1, 0)]
    again = CachedLikelihood(likelihood, "one", ContentCache(tmp_path / "cache"))(PROMPTS[:1], REPLIES, [(0, 1)])
    assert again.tolist() == [[1, 1]] and len(asked) == 3
    CachedLikelihood(likelihood, "other", ContentCache(tmp_path / "cache"))(PROMPTS, REPLIES, PAIRS[:1])
    assert len(asked) == 4


def test_a_scorer_reads_each_text_once():
    asked = []

    def scorer(texts):
        asked.extend(texts)
        return np.array([[len(text), 0.0] for text in texts])

    remembered = Remembered(scorer)
    assert remembered(["a", "bb", "a"]).tolist() == [[1, 0], [2, 0], [1, 0]]
    assert remembered(["bb", "ccc"]).tolist() == [[2, 0], [3, 0]] and asked == ["a", "bb", "ccc"]
