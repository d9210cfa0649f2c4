import glob
import os
import pickle
import sys

import numpy as np
import pytest

from transformers_empathav.processing import face_crop_empathav
from transformers_empathav.processing.face_crop_empathav import FaceCropper, most_agreed, square_around
from transformers_empathav.processing.media_empathav import load_clip
from transformers_empathav.processing.media_limits_empathav import MissingMediaError


FRAMES = np.random.default_rng(0).integers(0, 255, (6, 180, 320, 3), dtype=np.uint8)


class Finds:
    """A stand-in for OpenCV's cascade that finds, frame by frame, the boxes it was given."""

    def __init__(self, *boxes):
        self.boxes = iter(boxes)

    def detectMultiScale(self, *args, **kwargs):  # noqa: N802
        return next(self.boxes)


def cropper(*boxes, margin=0.0):
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    cropper = FaceCropper("unused.xml", margin)
    cropper._cascade = Finds(*boxes)
    return cropper


def test_all_frames_get_the_square_of_the_box_that_agrees_best():
    left, face, right, stray = (100, 50, 40, 40), (101, 50, 40, 40), (102, 50, 40, 40), (10, 10, 60, 60)
    crops = cropper([left], [], [face], [stray], [right], [face, (0, 0, 20, 20)])(FRAMES)
    assert np.array_equal(crops, FRAMES[:, 50:90, 101:141])


def test_boxes_are_scaled_back_from_the_searched_size():
    large = np.repeat(np.repeat(FRAMES, 2, axis=1), 2, axis=2)
    crops = cropper(*[[(100, 50, 40, 40)]] * 6)(large)
    assert np.array_equal(crops, large[:, 100:180, 200:280])


def test_frames_without_a_face_stay_whole():
    assert cropper(*[[]] * 6)(FRAMES) is FRAMES


@pytest.mark.parametrize(
    ("box", "margin", "wanted"),
    [
        ((100, 50, 40, 40), 0.0, (50, 100, 40)),
        ((100, 50, 40, 40), 0.25, (40, 90, 60)),
        ((100, 50, 40, 20), 0.0, (40, 100, 40)),  # the longer side
        ((0, 0, 40, 40), 0.25, (0, 0, 60)),  # moved into the frame
        ((280, 140, 40, 40), 0.25, (120, 260, 60)),
        ((100, 10, 160, 160), 0.5, (0, 90, 180)),  # no larger than the frame
    ],
)
def test_square_lies_within_the_frame(box, margin, wanted):
    assert square_around(np.array(box), (180, 320), margin) == wanted


def test_of_two_faces_one_is_taken_never_the_middle():
    boxes = np.array([[0, 0, 40, 40], [200, 0, 40, 40]] * 4)
    assert most_agreed(boxes).tolist() in boxes.tolist()


def test_without_opencv_frames_stay_whole_and_it_is_said_once(monkeypatch):
    said = []
    face_crop_empathav.logger.warning_once.cache_clear()
    monkeypatch.setattr(face_crop_empathav.logger, "warning", lambda message, *args: said.append(message))
    monkeypatch.setitem(sys.modules, "cv2", None)
    for _ in range(2):
        assert FaceCropper("unused.xml")(FRAMES) is FRAMES
    assert len(said) == 1 and "pip install opencv-contrib-python-headless" in said[0]


def test_a_missing_cascade_is_named(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    with pytest.raises(MissingMediaError, match="none.xml"):
        FaceCropper(tmp_path / "none.xml")(FRAMES)


def test_with_a_real_cascade_and_real_faces():
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    cascade = os.environ.get("EMPATHAV_CASCADE") or next(iter(glob.glob("build/smollm2-135m/*.xml")), None)
    if cascade is None:
        pytest.skip("no face cascade: set EMPATHAV_CASCADE to its XML, or run `make checkpoint`")
    cropper = FaceCropper(cascade)
    assert cropper(np.full((2, 90, 160, 3), 127, np.uint8)).shape == (2, 90, 160, 3)
    if "EMPATHAV_DATA" not in os.environ:
        pytest.skip("EMPATHAV_DATA is not set: no clips of real faces")
    paths = sorted(glob.glob(os.path.join(os.environ["EMPATHAV_DATA"], "av_clips", "fullframe", "*.mp4")))
    assert paths
    again = pickle.loads(pickle.dumps(cropper))
    for path in paths[:3]:
        (clip,) = load_clip(path)
        crops = again(clip.frames)
        assert crops.shape[0] == 8 and 120 < crops.shape[1] == crops.shape[2] < 360
        left, _, width, _ = again.find(clip.frames)
        assert 200 < left + width / 2 < 440  # the speaker sits in the middle
