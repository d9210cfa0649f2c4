import numpy as np
import pytest

from transformers_empathav.chat.hearing import read, view_of
from transformers_empathav.processing.face_crop_empathav import Faces
from transformers_empathav.processing.media_empathav import Clip


FRAMES = np.zeros((2, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("faces", "voiced", "reading"),
    [
        ([Faces(0)], False, "no face"),
        ([Faces(0), Faces(0)], False, "no face"),
        ([Faces(0), Faces(1)], False, "sad"),
        ([Faces(2, cut=True)], False, "sad"),
        ([None], False, "sad"),  # nobody was looked for
        ([Faces(0)], True, "sad"),  # the voice counts
    ],
)
def test_a_face_that_was_looked_for_and_not_found_is_said(faces, voiced, reading):
    windows = [Clip(None, FRAMES, 0.0, 1.0, face) for face in faces]
    assert read({"sad": 0.9, "happy": 0.1}, voiced, windows, threshold=0.5) == reading


@pytest.mark.parametrize(
    ("faces", "view"),
    [
        ([None, Faces(0), Faces(1)], ""),
        ([Faces(1), Faces(3), Faces(2)], "3 people in view, the largest face counts"),
        ([Faces(1), Faces(1, cut=True)], "the face is cut off by the edge"),
        ([Faces(2, cut=True)], "2 people in view, the largest face counts; the face is cut off by the edge"),
    ],
)
def test_several_people_and_a_face_that_is_cut_off_are_said(faces, view):
    assert view_of([Clip(None, FRAMES, 0.0, 1.0, face) for face in faces]) == view
