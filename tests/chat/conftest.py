"""A tiny responder, awake."""

import pytest

from helpers import short_labels, wake
from transformers_empathav.chat.responder import Responder
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture(scope="session")
def responder(tmp_path_factory, processor) -> Responder:
    folder = tmp_path_factory.mktemp("tiny")
    short_labels(wake(tiny_model(processor))).save_pretrained(folder)
    processor.save_pretrained(folder)
    return Responder(folder, device="cpu")
