"""MELD's clips: those of the split of the csv file, and rows without a clip."""

import pytest

from clips import only_message, touch, write_clip
from transformers_empathav.data.clips.meld import load_meld_clips
from transformers_empathav.training.feature_cache import FeatureCache


def meld(folder, *rows):
    lines = ["Sr No.,Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID"]
    lines += [f"{n},{text},{who},{emotion},{d},{u}" for n, (text, who, emotion, d, u) in enumerate(rows)]
    (folder / "dev_sent_emo.csv").write_text("\n".join(lines))
    return folder / "dev_sent_emo.csv"


def test_meld_reads_the_clips_of_its_own_split(tmp_path):
    touch(tmp_path, "dev_splits_complete/dia0_utt1.mp4", "train_splits/dia0_utt1.mp4")
    (item,) = load_meld_clips(meld(tmp_path, ("What?", "Monica", "surprise", 0, 1)))
    assert only_message(item)["content"][0]["path"] == str(tmp_path / "dev_splits_complete/dia0_utt1.mp4")
    assert (only_message(item)["emotion"], only_message(item)["speaker"], item["id"]) == (
        "surprised",
        "Monica",
        "meld-dev-dia0_utt1",
    )


def test_a_row_of_meld_without_a_clip_is_one_that_cannot_be_read(tmp_path, model, processor):
    write_clip(tmp_path / "dia0_utt1.mp4", seconds=0.4)
    table = meld(tmp_path, ("What?", "Monica", "surprise", 0, 1), ("Hm", "Joey", "joy", 0, 2))
    items = load_meld_clips(table)
    cache = FeatureCache(model.model.extractor, processor)
    assert cache.prepare(items, max_unreadable=0.5, progress=False) == items[:1]
    with pytest.raises(ValueError, match="1 of 2 clips cannot be read(.|\n)*meld-dev-dia0_utt2"):
        cache.prepare(items, max_unreadable=0.4, progress=False)
    (tmp_path / "dia0_utt1.mp4").unlink()
    with pytest.raises(ValueError, match="no clips named dia"):
        load_meld_clips(table)
