import numpy as np
import pytest

from faces import picture, write_faces
from transformers_empathav.data import faces as module
from transformers_empathav.data.faces import load_faces, split_faces, without
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "faces.parquet"


def test_pixels_labels_and_names_are_those_written(path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)  # more than one batch, the last not full
    pixels = write_faces(path, 10)
    faces = load_faces(path, size=16)
    assert (faces.pixels == pixels).all() and faces.pixels.dtype == np.uint8
    assert [EMOTION_LABELS[label] for label in faces.labels] == [EMOTION_LABELS[row % 7] for row in range(10)]
    assert faces.ids == [f"face{row}" for row in range(10)]


def test_colour_becomes_grey(path):
    write_faces(path, 1, jpeg=[picture(np.full((16, 16, 3), 90, dtype=np.uint8))])
    assert (load_faces(path, size=16).pixels == 90).all()


@pytest.mark.parametrize(
    "columns, said",
    [
        ({"emotion": ["happy", "joyful"]}, r"row 1 \(face1\) has the emotion 'joyful': it must be one of angry, "),
        ({"emotion": ["happy", None]}, r"row 1 \(face1\) has the emotion None"),
        ({"jpeg": [picture(np.zeros((16, 16), np.uint8)), b"\xff\xd8\xff"]}, r"row 1 \(face1\) is no picture"),
        ({"jpeg": [picture(np.zeros((16, 16), np.uint8)), None]}, r"row 1 \(face1\) is no picture"),
        ({"jpeg": [picture(np.zeros((16, 20), np.uint8))] * 2}, r"row 0 \(face0\) has 20x16 pixels, but 16x16"),
        ({"jpeg": None}, "has no column jpeg: faces need id, emotion, jpeg"),
        ({"id": [], "emotion": [], "jpeg": []}, "holds no face"),
    ],
)
def test_bad_rows_are_named(path, columns, said):
    write_faces(path, 2, **columns)
    with pytest.raises(ValueError, match=said) as error:
        load_faces(path, size=16)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_file_that_is_not_there_and_one_that_is_no_parquet(path):
    with pytest.raises(ValueError, match="is not there"):
        load_faces(path)
    path.write_bytes(b"not a table of faces")
    with pytest.raises(ValueError, match="is no parquet file"):
        load_faces(path)


def test_copies_of_a_picture_stay_on_one_side(path):
    once = [picture(face) for face in np.random.default_rng(0).integers(0, 255, (20, 16, 16), dtype=np.uint8)]
    write_faces(path, 40, jpeg=once + once)
    faces = load_faces(path, size=16)
    train, dev = split_faces(faces, 0.25, seed=0)
    assert (len(train), len(dev)) == (30, 10) and sorted(train.ids + dev.ids) == sorted(faces.ids)
    assert not {face.tobytes() for face in train.pixels} & {face.tobytes() for face in dev.pixels}
    assert split_faces(faces, 0.25, seed=0)[1].ids == dev.ids != split_faces(faces, 0.25, seed=1)[1].ids
    assert without(faces, dev).ids == train.ids


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_that_leaves_a_side_empty_is_refused(path, share):
    write_faces(path, 10)
    with pytest.raises(ValueError, match="leaves one part empty"):
        split_faces(load_faces(path, size=16), share, seed=0)
