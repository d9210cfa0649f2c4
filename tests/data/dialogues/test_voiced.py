"""The same words in each emotion: nothing but the clip can tell which reply is right."""

from collections import defaultdict

import pytest

from transformers_empathav.data.dialogues.voiced import load_voiced
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


@pytest.mark.parametrize("split, news", [("train", 24), ("dev", 6)])
def test_words_are_said_in_every_emotion_and_replies_name_none_of_another(split, news):
    emotions, replies = defaultdict(set), defaultdict(set)
    for one in load_voiced(split):
        said, answer = one["messages"]
        emotions[said["content"]].add(said["emotion"])
        replies[answer["content"]].add((said["content"], said["emotion"]))
        assert one["voiced"] is True
    assert len(emotions) == news and all(found == set(EMOTION_LABELS) for found in emotions.values())
    assert all(len(found) == 1 for found in replies.values())  # no reply serves two emotions


def test_splits_share_no_words():
    said = {split: {one["messages"][0]["content"] for one in load_voiced(split)} for split in ("train", "dev", "test")}
    assert not said["train"] & said["dev"] and not said["test"]
    with pytest.raises(ValueError, match="no split 'all'"):
        load_voiced("all")
