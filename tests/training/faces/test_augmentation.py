import pytest
import torch

from transformers_empathav.training.faces.augmentation import FaceAugmentation


NOTHING = {
    name: 0.0 for name in ("rotation", "shift", "flip", "light", "gamma", "contrast", "blur", "noise", "erase")
} | {"scale": 1.0}


@pytest.fixture
def faces():
    torch.manual_seed(0)
    return torch.rand(8, 1, 12, 12) * 0.8 + 0.1


def test_nothing_changes_nothing(faces):
    assert torch.allclose(FaceAugmentation(**NOTHING)(faces), faces, atol=1e-3)


def test_a_flip_is_a_flip(faces):
    assert torch.allclose(FaceAugmentation(**NOTHING | {"flip": 1.0})(faces), faces.flip(3), atol=1e-3)


def test_a_turned_face_keeps_its_middle_and_its_shape():
    disc = ((torch.arange(31) - 15.0).square()[:, None] + (torch.arange(31) - 15.0).square() < 100).float()[None, None]
    turned = FaceAugmentation(**NOTHING | {"rotation": 90.0})(disc.repeat(4, 1, 1, 1))
    assert (turned - disc).abs().mean() < 0.05  # a round thing looks the same from all sides, mirrored or not
    bar = torch.zeros(4, 1, 31, 31)
    bar[..., 15, :] = 1
    both = FaceAugmentation(**NOTHING | {"rotation": 60.0, "flip": 1.0})(bar)
    assert both[..., 15, 15].min() > 0.5 and both.sum((1, 2, 3)).min() > 20


def test_scale_and_shift_move_the_face():
    dot = torch.zeros(64, 1, 21, 21)
    dot[..., 10, 10] = 1
    moved = FaceAugmentation(**NOTHING | {"shift": 0.2})(dot)
    rows, columns = moved.sum(3).argmax(2).float(), moved.sum(2).argmax(2).float()
    for place in (rows, columns):
        assert place.min() >= 5 and place.max() <= 15 and place.std() > 1
    square = torch.zeros(64, 1, 21, 21)
    square[..., 6:15, 6:15] = 1
    area = FaceAugmentation(**NOTHING | {"scale": 1.4})(square).sum((1, 2, 3)) / 81
    assert area.min() >= 0.45 and area.max() <= 2.1 and area.min() < 0.8 and area.max() > 1.2


@pytest.mark.parametrize(
    "name, value", [("light", 0.3), ("gamma", 0.5), ("contrast", 0.5), ("blur", 1.0), ("noise", 0.1)]
)
def test_each_look_changes_faces_apart_and_stays_in_range(faces, name, value):
    same = faces[:1].repeat(8, 1, 1, 1)
    looks = FaceAugmentation(**NOTHING | {name: value})(same)
    assert looks.min() >= 0 and looks.max() <= 1 and len({look.numpy().tobytes() for look in looks}) == 8
    assert 0.01 < (looks - same).abs().max() < 0.6


def test_a_rectangle_covers_a_part_and_not_the_rest(faces):
    covered = FaceAugmentation(**NOTHING | {"erase": 1.0})(faces)
    changed = ((covered - faces).abs() > 1e-3).float().mean((1, 2, 3))
    assert changed.min() > 0 and changed.max() < 0.2
    assert (FaceAugmentation(**NOTHING | {"erase": 0.5})(faces) - faces).abs().amax((1, 2, 3)).lt(1e-3).any()


def test_the_seed_decides(faces):
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(FaceAugmentation()(faces))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == faces.shape and drawn[0].isfinite().all()
