"""A tiny system and an empty cache."""

import pytest

from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies.systems import System, weights_digest


@pytest.fixture
def system(model, processor):
    return System("tiny", "memory", model, processor, weights_digest(model))


@pytest.fixture
def cache(tmp_path):
    return ContentCache(tmp_path / "cache.jsonl")
