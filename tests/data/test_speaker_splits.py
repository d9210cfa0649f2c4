"""Splits of labelled clips by speaker: nobody is on both sides, and what cannot be split says why."""

import pytest

from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.data.speaker_splits import check_disjoint, group_folds, hold_out, speaker_of, take_of


def item(speaker, number=1):
    return clip_item(f"03-01-05-02-0{number}-01-{speaker}.wav", "angry", f"actor{speaker}")


ITEMS = [item(speaker, number) for speaker in ("01", "02", "03", "04", "05") for number in (1, 2)]


def test_folds_hold_every_speaker_out_once_and_no_speaker_is_on_both_sides():
    held_out = group_folds(ITEMS, 3)
    assert sorted(name for fold in held_out for name in fold) == [f"actor0{n}" for n in range(1, 6)]
    for fold in held_out:
        kept, out = hold_out(ITEMS, fold)
        check_disjoint(training=kept, test=out)
        assert len(kept) + len(out) == len(ITEMS) and {speaker_of(one) for one in out} == set(fold)


def test_a_speaker_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="actor02 is in both training and dev"):
        check_disjoint(training=ITEMS[:3], dev=ITEMS[3:])


def test_splits_that_cannot_be_made_say_why():
    with pytest.raises(ValueError, match="has no speaker"):
        group_folds([clip_item("a.wav", "sad")], 2)
    with pytest.raises(ValueError, match="6 folds of 5 groups"):
        group_folds(ITEMS, 6)
    with pytest.raises(ValueError, match="actor09 should be held out"):
        hold_out(ITEMS, ["actor09"])
    with pytest.raises(ValueError, match="One side of the split is empty"):
        hold_out(ITEMS, [f"actor0{n}" for n in range(1, 6)])


def test_takes_of_crops_and_full_frames_agree():
    crop, full = clip_item("faces/01-01-05-02-02-01-01.mp4", "angry"), clip_item("01-01-05-02-02-01-01.mp4", "angry")
    assert take_of(crop) == take_of(full) == "statement02-repetition01" != take_of(ITEMS[0])
    with pytest.raises(ValueError, match="not named as in RAVDESS"):
        take_of(clip_item("a.wav", "sad"))
