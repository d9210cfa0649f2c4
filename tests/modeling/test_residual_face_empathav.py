import pytest
import torch
import torch.nn.functional as F

from helpers import relative_error
from transformers_empathav.modeling.configuration_empathav import EmpathAVConfig, FaceEncoderConfig
from transformers_empathav.modeling.emotion_extractor_empathav import build_encoder
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder
from transformers_empathav.modeling.residual_face_empathav import ResidualBlock, shrink, standardize


RESIDUAL = {
    "architecture": "residual",
    "image_size": 24,
    "stem_channels": 4,
    "module_channels": [8, 12, 16],
    "module_depths": [1, 2, 1],
    "standardize": True,
    "classifier_dropout": 0.5,
}


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = FaceEncoder(FaceEncoderConfig(**RESIDUAL)).eval()
    for name, buffer in encoder.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.1, 0.3)  # far from one, so that maps and logits are not all zero
    return encoder


@pytest.fixture
def faces():
    return torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_the_outputs_are_those_of_the_other_architecture(encoder, faces):
    output = encoder(faces, output_hidden_states=True)
    assert output.last_hidden_state.shape == (3, 9, 16) == (3, 9, encoder.config.hidden_size)
    assert [tuple(state.shape[1:]) for state in output.hidden_states] == [(576, 4), (144, 8), (36, 12), (9, 16)]
    assert len(output.hidden_states) == encoder.config.num_hidden_layers + 1
    assert relative_error(output.pooler_output, output.last_hidden_state.mean(1)) < 1e-6
    # evaluation/clips reads the classifier so, from maps that were stored before
    maps = output.last_hidden_state.transpose(1, 2).unflatten(2, (3, 3))
    assert relative_error(encoder.classifier(maps).mean((2, 3)), output.logits) < 1e-5
    assert list(encoder.config.id2label.values())[:3] == ["angry", "disgust", "fearful"]


@torch.no_grad()
def test_a_block_is_its_convolutions_gate_and_shortcut():
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 6, 2, 1e-5).eval(), torch.randn(2, 4, 8, 8)
    inner = block.second_norm(block.second(F.relu(block.first_norm(block.first(x)))))
    weight = torch.sigmoid(block.gate.excite(F.relu(block.gate.squeeze(inner.mean((2, 3), keepdim=True)))))
    mean_of_four = x.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    shortcut = block.shortcut_norm(block.shortcut(mean_of_four))
    assert relative_error(block(x), F.relu(shortcut + weight * inner)) < 1e-5
    straight = ResidualBlock(4, 4, 1, 1e-5).eval()
    torch.nn.init.zeros_(straight.second_norm.weight)
    assert torch.equal(straight(x), F.relu(x))


@torch.no_grad()
def test_rows_of_a_batch_do_not_touch_each_other(encoder, faces):
    alone = torch.cat([encoder(face[None]).last_hidden_state for face in faces])
    assert relative_error(encoder(faces).last_hidden_state, alone) < 1e-5


@torch.no_grad()
def test_light_and_contrast_of_a_camera_change_nothing(encoder, faces):
    assert relative_error(encoder(0.4 * faces - 0.3).logits, encoder(faces).logits) < 1e-4
    assert relative_error(encoder(faces.flip(3)).logits, encoder(faces).logits) > 1e-3
    even = standardize(torch.full((1, 1, 4, 4), 0.7))
    assert even.abs().max() < 1e-5 and encoder(torch.full((1, 3, 24, 24), 0.7)).logits.isfinite().all()


@torch.no_grad()
def test_large_pictures_are_smoothed_before_they_shrink(encoder, faces):
    stripes = torch.ones(1, 1, 120, 120)
    stripes[..., ::2] = -1
    assert shrink(stripes, (24, 24)).abs().max() < 0.1 and F.interpolate(stripes, (24, 24)).abs().min() == 1
    large = F.interpolate(faces, size=(120, 120), mode="nearest")
    small = shrink(large, (24, 24))
    assert relative_error(encoder(large).logits, encoder(small).logits) < 1e-4
    assert encoder(torch.rand(1, 3, 30, 50)).last_hidden_state.shape == (1, 9, 16)


@torch.no_grad()
def test_bfloat16_reads_any_size(encoder, faces):
    exact = encoder(faces).logits
    assert relative_error(encoder.bfloat16()(faces).logits.float(), exact) < 0.1
    assert encoder(torch.rand(1, 3, 50, 50)).logits.dtype == torch.bfloat16


@torch.no_grad()
def test_save_and_load_keep_every_number(encoder, faces, tmp_path):
    encoder.save_pretrained(tmp_path)
    loaded = FaceEncoder.from_pretrained(tmp_path).eval()
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in encoder.state_dict().items())
    assert relative_error(loaded(faces).logits, encoder(faces).logits) < 1e-5


@torch.no_grad()
def test_the_composite_configuration_builds_it(encoder, faces, tmp_path):
    EmpathAVConfig(vision_config=FaceEncoderConfig(**RESIDUAL)).save_pretrained(tmp_path)
    tower = build_encoder(EmpathAVConfig.from_pretrained(tmp_path).vision_config).eval()
    tower.load_state_dict(encoder.state_dict())
    assert relative_error(tower(faces).logits, encoder(faces).logits) < 1e-5


def test_dropout_acts_before_the_classifier_in_training_alone(encoder, faces):
    torch.manual_seed(0)
    encoder.dropout.train()
    first, second = encoder(faces), encoder(faces)
    assert torch.equal(first.pooler_output, second.pooler_output)
    assert not torch.equal(first.logits, second.logits)


def test_the_default_is_mini_xception_and_has_no_new_weights():
    names = set(FaceEncoder(FaceEncoderConfig()).state_dict())
    assert "stem.4.weight" in names and "blocks.3.second.pointwise.weight" in names
    assert not any("gate" in name or "dropout" in name for name in names)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"architecture": "vgg"}, "no architecture 'vgg': take 'mini_xception' or 'residual'"),
        ({"module_depths": [1, 1]}, "module_depths names 2 modules and module_channels 3"),
    ],
)
def test_wrong_configurations_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        FaceEncoderConfig(**RESIDUAL | wrong)
