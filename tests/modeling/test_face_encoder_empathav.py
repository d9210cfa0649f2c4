import pytest
import torch
import torch.nn.functional as F

from helpers import relative_error
from transformers_empathav.modeling.configuration_empathav import FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder, pad_same


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = FaceEncoder(FaceEncoderConfig()).eval()
    for name, buffer in encoder.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return encoder


@pytest.fixture
def faces():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (5, 8)])
def test_same_padding_at_stride_two_adds_the_odd_row_and_column_at_the_end(size):
    features = torch.randn(1, 1, *size)
    pooled = F.max_pool2d(pad_same(features, 3, 2, float("-inf")), 3, stride=2)
    # An even size has its first window at the first pixel; an odd one has it around the first pixel.
    starts = [[2 * i - (length % 2) for i in range(-(-length // 2))] for length in size]
    expected = torch.stack(
        [
            torch.stack([features[0, 0, max(y, 0) : y + 3, max(x, 0) : x + 3].max() for x in starts[1]])
            for y in starts[0]
        ]
    )
    assert torch.equal(pooled[0, 0], expected)


@torch.no_grad()
def test_shapes_and_pooling(encoder, faces):
    output = encoder(faces, output_hidden_states=True)
    assert output.last_hidden_state.shape == (3, 16, 128)
    assert output.logits.shape == (3, 7)
    assert [tuple(state.shape[1:]) for state in output.hidden_states] == [
        (3600, 8), (900, 16), (225, 32), (64, 64), (16, 128)
    ]  # fmt: skip
    assert relative_error(output.pooler_output, output.last_hidden_state.mean(1)) < 1e-6
    assert encoder(faces).hidden_states is None
    assert torch.equal(encoder(faces, return_dict=False)[-1], output.logits)


@torch.no_grad()
def test_logits_are_the_averaged_class_maps(encoder, faces):
    output = encoder(faces)
    grid = output.last_hidden_state.transpose(1, 2).unflatten(2, (4, 4))
    maps = F.conv2d(grid, encoder.classifier.weight, encoder.classifier.bias, padding=1)
    assert relative_error(output.logits, maps.mean((2, 3))) < 1e-5


@torch.no_grad()
def test_colour_is_read_as_luma(encoder, faces):
    luma = 0.299 * faces[:, :1] + 0.587 * faces[:, 1:2] + 0.114 * faces[:, 2:]
    assert relative_error(encoder(luma.expand(-1, 3, -1, -1)).logits, encoder(faces).logits) < 1e-5
    assert relative_error(encoder(faces.flip(1)).logits, encoder(faces).logits) > 1e-3


@torch.no_grad()
def test_other_sizes_are_resized(encoder):
    large = torch.rand(1, 3, 90, 120) * 2 - 1
    small = F.interpolate(large, size=(64, 64), mode="bilinear", align_corners=False)
    assert relative_error(encoder(large).last_hidden_state, encoder(small).last_hidden_state) < 1e-5


@torch.no_grad()
def test_rows_of_a_batch_do_not_touch_each_other(encoder, faces):
    together = encoder(faces).last_hidden_state
    alone = torch.cat([encoder(face[None]).last_hidden_state for face in faces])
    assert relative_error(together, alone) < 1e-5


@torch.no_grad()
def test_save_and_load_keep_every_number(encoder, faces, tmp_path):
    encoder.save_pretrained(tmp_path)
    loaded = FaceEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(faces).logits, encoder(faces).logits)
    assert loaded.config.id2label == dict(
        enumerate(["angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised"])
    )


def test_labels_of_its_own_change_the_classifier():
    encoder = FaceEncoder(FaceEncoderConfig(num_labels=3, module_channels=[4, 8], stem_channels=2))
    assert encoder(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64), (1, 4, 3, 64, 64)])
def test_images_of_another_shape_are_refused(encoder, shape):
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\)"):
        encoder(torch.zeros(shape))
