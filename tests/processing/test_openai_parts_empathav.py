"""Messages as OpenAI's clients write them, with media in data URIs or at addresses."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from clips import write_clip
from helpers import encode, frames
from transformers_empathav.processing import openai_parts_empathav
from transformers_empathav.processing.messages_empathav import MediaPart, parse_messages


def part(**fields) -> MediaPart | str:
    ((parsed,),) = (turn.parts for turn in parse_messages([{"role": "user", "content": [fields]}], []))
    return parsed


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(frames(1)[0]).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def wave(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("media") / "sound.wav"
    return write_clip(path, seconds=1, fps=None, audio_codec="pcm_s16le").read_bytes()


def test_each_part_is_read_as_one_of_ours():
    data = in_base64(b"bytes")
    assert part(type="input_audio", input_audio={"data": data, "format": "wav"}) == MediaPart("audio", b"bytes")
    for kind, ours in (("audio_url", "audio"), ("image_url", "video"), ("video_url", "video")):
        for content in ({"url": f"data:a/b;base64,{data}"}, f"data:a/b;base64,{data}"):
            assert part(**{"type": kind, kind: content}) == MediaPart(ours, b"bytes")
        address = "https://example.org/clip"
        assert part(**{"type": kind, kind: {"url": address}}) == MediaPart(ours, address)
    assert part(type="video", url=f"data:video/mp4;base64,{data}") == MediaPart("video", b"bytes")


@pytest.mark.parametrize(
    "uri", ["data:;base64,Ynl0ZXM=", "DATA:a/b;charset=x;BASE64,Ynl0%0AZXM%3D", "data:,bytes", "data:a/b,b%79tes"]
)
def test_data_uris_in_each_spelling(uri):
    assert part(type="audio_url", audio_url={"url": uri}) == MediaPart("audio", b"bytes")


def test_the_model_sees_what_it_would_see_of_our_own_parts(processor, photo, wave):
    theirs = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{in_base64(photo)}", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": in_base64(wave), "format": "wav"}},
    ]
    ours = [
        {"type": "text", "text": "Look"},
        {"type": "video", "video": photo},
        {"type": "audio", "audio": wave},
    ]
    one, other = (encode(processor, [{"role": "user", "content": content}]) for content in (theirs, ours))
    assert one.keys() == other.keys() and {"pixel_values_videos", "input_features"} <= one.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert np.abs(one["pixel_values_videos"][0].numpy()).max() > 0 and one["video_mask"].tolist() == [1, 0]


def test_what_is_not_read_of_a_part_is_said(monkeypatch):
    said = []
    openai_parts_empathav.logger.warning_once.cache_clear()
    monkeypatch.setattr(openai_parts_empathav.logger, "warning", lambda message, *args: said.append(message))
    part(type="image_url", image_url={"url": "data:,x", "detail": "high"})
    assert len(said) == 1 and "'detail' is left out" in said[0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "input_audio"}, "'input_audio' without a string under 'data'"),
        ({"type": "input_audio", "input_audio": "UklGRg=="}, "without a string under 'data'"),
        ({"type": "input_audio", "input_audio": {"data": "%%%"}}, "not valid base64"),
        ({"type": "input_audio", "input_audio": {"data": "Ynl0ZX"}}, "not valid base64"),
        ({"type": "input_audio", "input_audio": {"data": "caf\u00e9"}}, "not valid base64"),
        ({"type": "image_url", "image_url": {}}, "without a string under 'url'"),
        ({"type": "image_url", "image_url": {"url": ["x"]}}, "without a string under 'url'"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64"}}, "is no data URI"),
        ({"type": "image_url", "image_url": {"url": "data:,\ud800"}}, "is no data URI"),
        ({"type": "image_url", "image_url": {"url": "\ud800"}}, "a name that no file can have"),
        ({"type": "video_url", "video_url": {"url": "x"}, "fps": 3}, "with 'fps', which is not read"),
    ],
)
def test_a_part_that_does_not_hold_what_its_type_says(fields, reason):
    with pytest.raises(ValueError, match=reason) as error:
        part(**fields)
    assert str(error.value).startswith("Message 1 has") and "\n" not in str(error.value)
