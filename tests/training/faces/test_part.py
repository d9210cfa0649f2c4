import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import relative_error
from transformers_empathav.modeling.configuration_empathav import FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder
from transformers_empathav.training.faces.part import load_face, save_face


@pytest.fixture
def tower():
    torch.manual_seed(0)
    config = FaceEncoderConfig(
        architecture="residual", image_size=16, stem_channels=4, module_channels=[8, 8], standardize=True
    )
    tower = FaceEncoder(config).to(memory_format=torch.channels_last)
    tower(torch.rand(4, 3, 16, 16))  # batch normalisation counts
    return tower.eval()


@torch.no_grad()
def test_saved_is_reloaded(tower, tmp_path):
    save_face(tower, tmp_path / "face.safetensors")
    loaded = load_face(tmp_path / "face.safetensors")
    assert loaded.config.to_diff_dict() == tower.config.to_diff_dict() and not loaded.training
    state = tower.state_dict()
    for name, tensor in loaded.state_dict().items():
        expected = state[name].bfloat16().to(tensor) if tensor.ndim > 1 else state[name]
        assert torch.equal(tensor, expected), name
    faces = torch.rand(2, 3, 16, 16)
    assert relative_error(loaded(faces).logits, tower(faces).logits) < 0.05
    save_face(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "face.safetensors").read_bytes()


def test_other_files_are_refused(tower, tmp_path):
    path = tmp_path / "face.safetensors"
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="is damaged"):
        load_face(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is no face tower"):
        load_face(path)
    save_face(tower, path)
    state = load_file(path)
    del state["classifier.bias"]
    save_file(state, path, metadata={"face_encoder": tower.config.to_json_string()})
    with pytest.raises(ValueError, match="does not fit its own configuration"):
        load_face(path)
