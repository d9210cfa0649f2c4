"""What an adapter's file says of the configuration: written, read, and nothing else."""

import pytest
from safetensors.torch import save_file

from transformers_empathav.checkpoint.adapter import adapter_metadata, apply_adapter_settings
from transformers_empathav.testing.tiny import tiny_model


@pytest.mark.parametrize(("settings", "expected"), [({"emotion_temperature": 2.5}, 2.5), ({}, 1.5), (None, 1.5)])
def test_what_is_written_is_read(processor, tmp_path, settings, expected):
    model = tiny_model(processor, emotion_temperature=1.5)
    path = tmp_path / "adapter_model.safetensors"
    save_file({}, path, adapter_metadata(settings))
    apply_adapter_settings(model, path)
    assert model.config.emotion_temperature == expected


def test_an_adapter_of_another_library_says_nothing(processor, tmp_path):
    model = tiny_model(processor, emotion_temperature=1.5)
    save_file({}, tmp_path / "adapter_model.safetensors")
    apply_adapter_settings(model, tmp_path / "adapter_model.safetensors")
    assert model.config.emotion_temperature == 1.5


def test_what_an_adapter_may_not_change_is_named():
    with pytest.raises(ValueError, match="does not change hidden_size, only emotion_temperature, emotion_threshold"):
        adapter_metadata({"hidden_size": 3})
