"""Weights in 8 bits: near those that they were, alike for few rows and many, and nothing but the language model's."""

import pytest
import torch
from torch import nn

from helpers import encode, relative_error, user
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.int8_linear import FEW, Int8Linear, to_int8
from transformers_empathav.chat.responder import Responder
from transformers_empathav.testing.conversations import save_tiny_checkpoint
from transformers_empathav.testing.tiny import tiny_model


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, FEW, FEW + 1])
def test_a_layer_is_near_the_one_that_it_replaces(rows, bias):
    torch.manual_seed(0)
    linear = nn.Linear(64, 96, bias)
    hidden = torch.randn(rows, 64)
    hidden[:, 0] *= 100  # one large value takes no precision from the others
    rounded = Int8Linear(linear)
    assert relative_error(rounded(hidden), linear(hidden)) < 0.01
    exact = torch.nn.functional.linear(hidden, rounded.weight * rounded.scale[:, None], linear.bias)
    assert relative_error(rounded(hidden), exact) < 0.01


def test_rows_of_zeros_and_other_types_and_shapes_are_kept():
    linear = nn.Linear(64, 32).bfloat16()
    nn.init.zeros_(linear.weight)
    out = Int8Linear(linear)(torch.randn(2, 3, 64).bfloat16())
    assert out.shape == (2, 3, 32) and out.dtype == torch.bfloat16 and torch.isfinite(out).all()


@torch.no_grad()
def test_the_language_model_alone_is_rounded(processor):
    model = tiny_model(processor)
    inputs = encode(processor, [user("I lost my job")])
    before = model(**inputs).logits
    parts = {name: value.clone() for name, value in model.state_dict().items() if "language_model" not in name}
    to_int8(model)
    assert not any(type(module) is nn.Linear for module in model.model.language_model.modules())
    assert isinstance(model.lm_head, Int8Linear)
    assert 0 < relative_error(model(**inputs).logits, before) < 0.1
    assert all(torch.equal(model.state_dict()[name], value) for name, value in parts.items() if "lm_head" not in name)


def test_a_responder_answers_with_rounded_weights(tmp_path):
    checkpoint = save_tiny_checkpoint(tmp_path / "checkpoint")
    exact, rounded = (Responder(checkpoint, asr="", int8=int8) for int8 in (False, True))
    assert isinstance(rounded.model.lm_head, Int8Linear) and type(exact.model.lm_head) is nn.Linear
    assert Conversation(rounded).say("Hello", max_new_tokens=4).response


def test_on_another_device_it_is_refused(processor):
    with pytest.raises(ValueError, match="int8 is for a CPU and the model is on meta"):
        to_int8(tiny_model(processor).to("meta"))
