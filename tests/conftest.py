"""Shared fixtures: a tiny random model and its processor, and the reference checkpoint and data where present."""

import os
from pathlib import Path

import pytest
import torch

from helpers import wake
from transformers_empathav.testing.tiny import tiny_model, tiny_processor


os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)  # the models are tiny: more threads would only wait for each other


@pytest.fixture(scope="session")
def processor():
    return tiny_processor()


@pytest.fixture
def model(processor):
    """Random weights, strong enough that every input counts."""
    return wake(tiny_model(processor))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real clips and dialogues, named by EMPATHAV_DATA."""
    folder = os.environ.get("EMPATHAV_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EMPATHAV_DATA names no folder with real clips and dialogues")
    return Path(folder)


@pytest.fixture(scope="session")
def checkpoint_dir() -> Path:
    """The assembled smollm2-135m checkpoint."""
    folder = Path(__file__).parent.parent / "build" / "smollm2-135m"
    if not (folder / "config.json").is_file():
        pytest.skip("build/smollm2-135m is not assembled: run `make checkpoint`")
    return folder
