"""What is said in a sound: nothing in silence, and no word cut in two."""

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

from helpers import sound
from recogniser import listening
from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.transcriber import OVERLAP, WINDOW, Transcriber, joined, loud_enough, overlapping


RATE = 16000


def test_recognisers_without_a_decoder_are_read_too(responder, tmp_path):
    transcribe, heard = listening(responder, tmp_path), sound(0)
    recogniser, processor = Wav2Vec2ForCTC.from_pretrained(tmp_path), Wav2Vec2Processor.from_pretrained(tmp_path)
    with torch.no_grad():
        logits = recogniser(**processor(heard, sampling_rate=RATE, return_tensors="pt")).logits
    expected = processor.batch_decode(logits.argmax(-1))[0].strip()
    assert expected and transcribe([heard]).text == expected and transcribe([heard]).spoken
    named = Responder(responder.model.config._name_or_path, asr=str(tmp_path), device="cpu")
    assert named.transcribe([heard]).text == expected


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
def test_what_is_too_quiet_is_not_read(level, responder, tmp_path, monkeypatch):
    transcribe = listening(responder, tmp_path)
    monkeypatch.setattr(transcribe, "load", lambda: pytest.fail("it was read"))
    quiet = (level * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    assert transcribe([quiet]).text == "" and not transcribe([quiet]).spoken
    assert not transcribe([]).spoken


def test_one_loud_moment_is_enough():
    quiet = np.zeros(10 * RATE, np.float32)
    assert not loud_enough(quiet, RATE)
    quiet[5 * RATE : 5 * RATE + RATE // 5] = 0.1
    assert loud_enough(quiet, RATE)


@pytest.mark.parametrize("seconds", [1, WINDOW, WINDOW + 0.1, 61, 200])
def test_long_sounds_are_read_in_pieces_that_overlap(seconds):
    whole = np.arange(int(seconds * RATE))
    pieces = overlapping(whole, RATE)
    assert all(len(piece) <= WINDOW * RATE for piece in pieces)
    assert pieces[0][0] == 0 and pieces[-1][-1] == whole[-1]
    for one, other in zip(pieces, pieces[1:]):
        assert one[-1] - other[0] + 1 == OVERLAP * RATE


@pytest.mark.parametrize(
    ("text", "more", "whole"),
    [
        ("I lost my job on Mon", "my job on Monday, you see", "I lost my job on Monday, you see"),
        ("so I went", "So I went home.", "So I went home."),
        ("One thing.", "Another thing entirely", "One thing entirely"),
        ("nothing alike", "here", "nothing alike here"),
        ("", "alone", "alone"),
        ("alone", "", "alone"),
    ],
)
def test_what_two_pieces_share_stands_once(text, more, whole):
    assert joined(text, more) == whole


@pytest.fixture(scope="module")
def whisper(checkpoint_dir) -> Transcriber:
    return Transcriber(str(checkpoint_dir / "asr"), RATE, torch.device("cpu"), torch.float32)


def test_whisper_writes_nothing_where_nobody_speaks(whisper):
    noise = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    for silence in (0 * noise, 2e-4 * noise, 0.02 * noise):
        assert whisper([silence]).text == ""


def test_a_long_recording_is_read_whole(whisper, data_dir):
    """The same sentence again and again, with a window's end within a word."""
    import av
    import soxr

    path = sorted((data_dir / "ravdess_audio").rglob("*.flac"))[0]
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    spoken = np.concatenate(frames).astype(np.float32)
    spoken = soxr.resample(spoken / np.abs(spoken).max(), rate, RATE)
    repeated = np.tile(spoken, -(-40 * RATE // len(spoken)))
    words = whisper([repeated]).text.lower()
    assert abs(words.count("door") - len(repeated) // len(spoken)) <= 2
