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
from transformers_empathav.processing.media_limits_empathav import MediaError
from transformers_empathav.processing.messages_empathav import MediaPart, pair_streams, parse_messages


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


URIS = [
    "data:;base64,Ynl0ZXM=",
    "DATA:a/b;charset=x;BASE64,Ynl0%0AZXM%3D",
    "data:a/b;base64,Ynl0\r\nZXM=\n",
    "data:,bytes",
    "data:a/b,b%79tes",
]


@pytest.mark.parametrize("uri", URIS)
def test_data_uris_in_each_spelling(uri):
    assert part(type="audio_url", audio_url={"url": uri}) == MediaPart("audio", b"bytes")
    assert part(type="image_url", image_url=f" \n{uri}") == MediaPart("video", b"bytes")
    assert part(type="input_audio", input_audio={"data": uri}) == MediaPart("audio", b"bytes")


@pytest.mark.parametrize("uri", URIS)
def test_data_uris_stand_wherever_a_source_may(uri):
    for key in ("audio", "url", "path", "bytes"):
        assert part(type="audio", **{key: uri}) == MediaPart("audio", b"bytes")
    assert part(type="video", path="x.mp4", audio=uri) == MediaPart("video", "x.mp4", b"bytes")
    assert pair_streams([{"path": uri}], [uri], None) == [MediaPart("video", b"bytes", b"bytes")]


def test_an_address_is_no_data_uri_and_is_not_fetched_unasked(processor):
    for address in ("HTTPS://example.org/x.png", "https://example.org/data:,x", "https://example.org/x.png "):
        with pytest.raises(MediaError, match="allow_urls=True"):
            encode(processor, [{"role": "user", "content": [{"type": "image_url", "image_url": address}]}])


def test_content_that_is_no_clip_is_refused_without_being_quoted(processor):
    for data, reason in ((b"", "empty"), (b"\0" * 2_000_000, "no media"), (b"<svg/>" * 9, "no media")):
        for uri in (
            f"data:video/mp4;base64,{in_base64(data)}",
            "data:," + "".join(f"%{byte:02X}" for byte in data[:99]),
        ):
            with pytest.raises(MediaError, match=reason) as error:
                encode(processor, [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": uri}}]}])
            assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_content_beyond_the_limits_is_refused(processor, wave):
    chat = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": in_base64(wave)}}]}]
    assert "input_features" in encode(processor, chat, limits={"max_bytes": len(wave)})
    with pytest.raises(MediaError, match="bytes.*MediaLimits.max_bytes"):
        encode(processor, chat, limits={"max_bytes": len(wave) - 1})


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
        ({"type": "input_audio", "input_audio": {"data": "Ynl0ZXM=" * 2}}, "not valid base64"),
        ({"type": "input_audio", "input_audio": {"data": "-_8="}}, "not valid base64"),
        ({"type": "input_audio", "input_audio": {"data": "data:;base64,%"}}, "not valid base64"),
        ({"type": "audio", "audio": {"path": "data:audio/wav"}}, "is no data URI"),
        (
            {"type": "audio", "audio": "data:," + "%" * 10**7},
            "10000000 percent-encoded bytes: give base64",
        ),
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
