"""Fluency against log-probabilities that are taken one by one."""

import numpy as np
import pytest
import torch

from transformers_empathav.pairs.fluency import Fluency
from transformers_empathav.testing.tiny import tiny_model


@torch.no_grad()
def test_it_is_the_mean_log_probability_whatever_stands_beside(processor):
    model, tokenizer = tiny_model(processor).eval(), processor.tokenizer
    texts = ["Oh no! What now?", "That is a rather long sentence, é and all.", "Hm.", "a"]
    expected = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        found = model(input_ids=ids).logits.log_softmax(-1)[0]
        each = [found[place, ids[0, place + 1]].item() for place in range(ids.shape[1] - 1)]
        expected.append(np.mean(each) if each else 0.0)
    for size in (1, 4):
        assert Fluency(model, tokenizer, size)(texts) == pytest.approx(expected, abs=1e-4)
    assert Fluency(model, tokenizer)([]).shape == (0,)
