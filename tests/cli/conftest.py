"""A checkpoint for all commands: tiny, and awake."""

from pathlib import Path

import pytest

from helpers import wake
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, processor) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    wake(tiny_model(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
