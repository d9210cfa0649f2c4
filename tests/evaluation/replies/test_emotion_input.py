"""Clips paired with the emotion of what was said."""

import pytest

from helpers import assistant, frames, sound, user
from transformers_empathav.evaluation.replies.emotion_input import INPUTS, pair_with_clips
from transformers_empathav.processing.media_empathav import Clip


def row(name, emotion, text="words"):
    return {"id": name, "prompt": [user("before"), assistant("yes"), user(text, emotion=emotion)], "completion": []}


def clip(name, emotion):
    content = [{"type": "video", "path": f"{name}.mp4"}]
    return {"id": name, "messages": [{"role": "user", "emotion": emotion, "content": content}]}


CLIPS = [clip("s1", "sad"), clip("s2", "sad"), clip("h1", "happy")]


def load(path):
    return [Clip(audio=sound(1), frames=frames(len(path)), start=0.0, end=1.0)]


def test_each_input_shows_its_streams_of_a_clip_of_that_emotion(processor):
    read = []
    found = pair_with_clips([row("a", "sad"), row("b", "happy")], CLIPS, lambda path: read.append(path) or load(path))
    assert tuple(found) == INPUTS and "h1.mp4" in read and set(read) & {"s1.mp4", "s2.mp4"}
    windows = {name: rows[0]["prompt"][-1]["content"][0].get("video") for name, rows in found.items()}
    assert windows["none"] is None
    heard = {name: windows[name][0].audio is not None for name in INPUTS[1:]}
    seen = {name: windows[name][0].frames is not None for name in INPUTS[1:]}
    assert heard == {"audio": True, "video": False, "both": True}
    assert seen == {"audio": False, "video": True, "both": True}
    inputs = [
        processor.apply_chat_template(rows[0]["prompt"], add_generation_prompt=True, tokenize=True, return_dict=True)
        for rows in found.values()
    ]
    assert ["input_features" in one for one in inputs] == [False, True, False, True]
    assert ["pixel_values_videos" in one for one in inputs] == [False, False, True, True]


def test_a_row_without_a_clip_of_its_emotion_is_left_out():
    found = pair_with_clips([row("a", "angry"), row("b", "happy"), row("c", None)], CLIPS, load)
    assert [one["id"] for one in found["both"]] == ["b"]
    with pytest.raises(ValueError, match="happy, sad"):
        pair_with_clips([row("a", "angry")], CLIPS, load)


def test_the_same_seed_gives_the_same_clips():
    rows = [row(str(index), "sad") for index in range(20)]

    def paths(seed):
        read = []
        found = pair_with_clips(rows, CLIPS, lambda path: read.append(path) or load(path), seed)
        return [one["prompt"][-1]["content"][0]["video"][0].frames.sum() for one in found["video"]], read

    assert paths(0) == paths(0)


def test_a_clip_without_a_face_is_refused():
    with pytest.raises(ValueError, match="lacks voice or face"):
        pair_with_clips([row("a", "sad")], CLIPS, lambda path: [Clip(audio=sound(1), frames=None, start=0, end=1)])
