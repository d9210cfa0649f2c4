"""The temperature of a tuned language model's readings: found where it is known, and only where it was asked for."""

import numpy as np
import pytest
import torch

from clips import write_clip
from helpers import wake
from transformers_empathav.modeling.modeling_empathav import EmpathAVForCausalLM
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.adapters import AdapterArguments, feature_cache, with_adapter
from transformers_empathav.training.reading import reading_settings, same_share


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    clips = [write_clip(folder / f"{pitch}.mp4", seconds=1.0, frequency=pitch) for pitch in (200, 300, 400)]
    (folder / "labels.csv").write_text("path,emotion,speaker\n" + "".join(f"{clip.name},sad,ann\n" for clip in clips))
    return str(folder)


@pytest.fixture
def adapted(processor):
    return with_adapter(wake(tiny_model(processor, emotion_temperature=1.5)), AdapterArguments(lora_r=2))


@pytest.mark.parametrize("sharper", [0.5, 3.0])
def test_what_tuning_sharpened_is_undone(adapted, processor, corpus, monkeypatch, sharper):
    read = EmpathAVForCausalLM.predict_emotion

    def predict(self, **inputs):
        disabled = all(layer.disable_adapters for layer in self.modules() if hasattr(layer, "lora_A"))
        return (read(self, **inputs).log() * (1.0 if disabled else sharper)).softmax(dim=-1)

    monkeypatch.setattr(EmpathAVForCausalLM, "predict_emotion", predict)
    adapted.train()
    found = reading_settings(adapted, processor, None, [corpus])
    assert found["emotion_temperature"] == pytest.approx(1.5 * sharper, rel=1e-2)
    assert adapted.training and adapted.get_base_model().config.emotion_temperature == 1.5


def test_an_adapter_that_changes_nothing_keeps_the_temperature(adapted, processor, corpus, tmp_path):
    cache = feature_cache(adapted.get_base_model(), processor, str(tmp_path))
    assert torch.is_grad_enabled()
    found = reading_settings(adapted, processor, cache, [corpus])
    assert found["emotion_temperature"] == pytest.approx(1.5, rel=1e-3) and list(tmp_path.rglob("*.safetensors"))


def test_as_many_readings_are_sure_as_before():
    before, after = np.zeros((200, 7)), np.zeros((200, 7))
    before[:, 0] = np.linspace(0.4, 1.0, 200)
    after[:, 0] = before[:, 0] - 0.1
    assert same_share(before, after, 0.88) == 0.78 and same_share(before, before, 0.88) == 0.88
    assert same_share(before, after, 0.999) == 0.90  # one is sure of 200, and one stays so


def test_without_clips_nothing_is_said(adapted, processor):
    assert reading_settings(adapted, processor, None, []) == {}
