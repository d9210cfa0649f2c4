import pickle

import numpy as np
import pytest
import torch

from faces import write_detector
from transformers_empathav.processing.face_detector_empathav import (
    ANSWERS,
    FaceDetector,
    RetinaFace,
    distinct,
    priors,
    read_answers,
    shared,
)
from transformers_empathav.processing.media_limits_empathav import MissingMediaError


def written_out(height, width):
    """The squares one by one: levels from fine to coarse, each row by row, small before large."""
    for step, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for top in range(0, height, step):
            for left in range(0, width, step):
                for side in sides:
                    yield left + step / 2, top + step / 2, side


@pytest.mark.parametrize("shape", [(64, 96), (90, 150), (1, 33)])
@torch.no_grad()
def test_the_network_answers_for_every_square(shape):
    squares = priors(*shape)
    assert np.array_equal(squares, list(written_out(*shape)))
    assert RetinaFace()(torch.zeros(2, 3, *shape)).shape == (2, len(squares), ANSWERS)


@torch.no_grad()
def test_a_face_is_seen_where_it_is():
    """Each square looks at its own place: what is drawn at the right moves answers there, and not at the left."""
    torch.manual_seed(0)
    network, pictures = RetinaFace().eval(), torch.zeros(2, 3, 32, 640)
    pictures[1, :, 10:20, 600:610] = 255.0
    changes = (network(pictures[1:]) - network(pictures[:1]))[0].abs().sum(-1).numpy()
    finest = priors(32, 640)[:, 2] == 16
    across = priors(32, 640)[finest, 0]
    assert abs(across[changes[finest].argmax()] - 605) < 40
    assert changes[finest][across < 100].max() < 1e-5


def test_answers_become_boxes_and_landmarks():
    squares = priors(32, 64)
    index, box = 3, np.array([10.0, 2.0, 30.0, 34.0])
    points = np.array([[15, 10], [25, 11], [20, 18], [16, 26], [24, 27.0]])
    across, down, side = squares[index]
    answers = torch.full((len(squares), ANSWERS), -5.0)
    answers[index, 0] = 2.0
    middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    answers[index, 1:3] = torch.tensor((middle - [across, down]) / (0.1 * side))
    answers[index, 3:5] = torch.tensor(np.log(size / side) / 0.2)
    answers[index, 5:] = torch.tensor(((points - [across, down]) / (0.1 * side)).reshape(-1))
    boxes, found, scores = read_answers(answers, squares)
    assert np.allclose(boxes, [box], atol=1e-4) and np.allclose(found, [points], atol=1e-4)
    assert np.allclose(scores, 1 / (1 + np.exp(-2.0)))


def test_what_boxes_share():
    box = np.array([0, 0, 10, 10.0])
    assert shared(box, box) == 1.0
    assert shared(box, box + 20) == 0.0
    assert shared(box, np.array([5, 0, 15, 10.0])) == pytest.approx(1 / 3)
    assert shared(box, np.array([10, 0, 20, 10.0])) == 0.0  # side by side


def test_of_boxes_on_one_face_the_surest_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [2, 0, 12, 10], [51, 0, 61, 10.0]])
    assert distinct(boxes, np.array([0.8, 0.9, 0.7, 0.85, 0.95])) == [4, 1]
    assert distinct(boxes[:0], np.zeros(0)) == []


def test_places_are_those_of_the_picture_as_it_came(tmp_path):
    detector = FaceDetector(write_detector(tmp_path / "faces.safetensors"))
    small = np.zeros((90, 160, 3), dtype=np.uint8)
    for picture, scale in ((small, 0.5), (np.zeros((540, 960, 3), dtype=np.uint8), 3.0)):  # searched at 320 x 180
        (face, *_) = detector(picture)
        assert np.allclose(face.box, scale * np.array([-112, -112, 144, 144]))
        assert np.allclose(face.points, scale * 16) and face.score > 0.99


def test_it_travels_to_workers_without_its_network(tmp_path):
    detector = FaceDetector(write_detector(tmp_path / "faces.safetensors"))
    picture = np.zeros((40, 40, 3), dtype=np.uint8)
    found, stored = detector(picture), pickle.dumps(detector)
    assert len(stored) < 1000
    again = pickle.loads(stored)(picture)
    assert all(np.array_equal(one.box, other.box) for one, other in zip(found, again, strict=True))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(MissingMediaError, match="none.safetensors"):
        FaceDetector(tmp_path / "none.safetensors")(np.zeros((40, 40, 3), dtype=np.uint8))
