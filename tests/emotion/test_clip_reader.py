"""`empathav emotion`: scores of whole clips and over time, and how it refuses."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from clips import write_clip
from helpers import encode, sound, wake
from transformers_empathav import EMOTION_LABELS, MediaLimits
from transformers_empathav.cli import app
from transformers_empathav.emotion import clip_reader
from transformers_empathav.emotion.clip_reader import EmotionReader, join, slide
from transformers_empathav.processing import clip_loading_empathav
from transformers_empathav.processing.media_empathav import Clip, load_clip
from transformers_empathav.testing.tiny import tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, processor):
    folder = tmp_path_factory.mktemp("tiny")
    wake(tiny_model(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reader(checkpoint):
    return EmotionReader(checkpoint)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    times = [0.0, 0.1, 0.5, 0.55, 1.4, 1.5, 2.2]  # a variable frame rate
    return {
        "clip": write_clip(folder / "clip.mp4", seconds=2.5, times=times, audio_seconds=2.0),
        "sound": write_clip(folder / "sound.mp4", seconds=0.7, fps=None, audio_rate=8000, layout="mono"),
        "silent": write_clip(folder / "silent.mp4", seconds=1.0, audio_rate=None),
    }


def emotion(*arguments):
    return CliRunner().invoke(app, ["emotion", *map(str, arguments)])


def test_scores_are_those_of_predict_emotion(reader, processor, media):
    for name, kind in (("clip", "video"), ("sound", "audio"), ("silent", "video")):
        found = reader(media[name])
        messages = [{"role": "user", "content": [{"type": kind, "path": str(media[name])}]}]
        expected = reader.model.predict_emotion(**encode(processor, messages))[0].numpy()
        assert list(found.whole.scores) == list(EMOTION_LABELS)
        assert np.allclose(list(found.whole.scores.values()), expected, atol=1e-5)
    assert [reader(media[name]).streams for name in media] == [["audio", "video"], ["audio"], ["video"]]


def test_windows_slide_by_a_piece_and_cover_the_clip(reader, media):
    found = reader(media["clip"], timeline=True, window=1.0, hop=0.5)
    starts = [window.start for window in found.timeline]
    assert len(starts) == np.ceil(found.whole.end / 0.5) - 1
    assert 0.4 < min(np.diff(starts)) <= max(np.diff(starts)) <= 0.5
    assert found.timeline[0].start == 0 and found.timeline[-1].end == pytest.approx(found.whole.end)
    assert len({window.scores["sad"] for window in found.timeline}) > 1


def test_limits_hold_for_the_clip_and_for_its_windows(checkpoint, media, monkeypatch):
    used = []

    def load(*args, **kwargs):
        used.append(kwargs["limits"])
        return load_clip(*args, **kwargs)

    for module in (clip_loading_empathav, clip_reader):
        monkeypatch.setattr(module, "load_clip", load)
    reader = EmotionReader(checkpoint, limits={"max_seconds": 900})
    assert reader(media["clip"], timeline=True, window=1.0, hop=0.5).timeline
    assert len(used) > 2 and set(used) == {MediaLimits(max_seconds=900)}


def test_a_clip_shorter_than_the_window_is_scored_once(reader, media):
    found = reader(media["sound"], timeline=True, window=2.0, hop=0.5)
    assert len(found.timeline) == 1
    assert found.timeline[0].scores == pytest.approx(found.whole.scores, abs=1e-5)


def test_a_voice_that_changes_changes_the_timeline(reader, tmp_path):
    """The second half of a recording is another voice: its windows get the scores that the voice has by itself."""
    first, second = sound(1, seconds=1.0), sound(2, seconds=1.0)
    pieces = [Clip(wave, None, start, start + 1) for start, wave in enumerate((first, second))]
    windows = slide(pieces, 1.0, 1.0, 3)
    scores = reader.score([reader._read(part) for part in windows])
    for row, wave in zip(scores, (first, second)):
        assert np.allclose(row, reader.score([reader.processor.load_clip(wave, kind="audio")])[0], atol=1e-5)
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_joined_pieces_keep_sound_in_time_and_spread_frames():
    shown = [np.full((2, 4, 4, 3), index, np.uint8) for index in range(3)]
    pieces = [Clip(np.ones(10, np.float32), shown[0], 0.0, 1.0), Clip(None, shown[1], 1.0, 2.0)]
    pieces.append(Clip(np.ones(10, np.float32), shown[2], 2.0, 3.0))
    joined = join(pieces, 3)
    assert joined.audio.tolist() == [1] * 10 + [0] * 10 + [1] * 10 and (joined.start, joined.end) == (0.0, 3.0)
    assert joined.frames[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_batch_is_its_rows(reader, media):
    clips = [reader.processor.load_clip(media[name], kind="any") for name in media]
    together = reader.score(clips)
    for row, clip in zip(together, clips):
        assert np.allclose(row, reader.score([clip])[0], rtol=1e-4)


def test_json_and_plots(checkpoint, media, tmp_path):
    timeline, bars = tmp_path / "timeline.png", tmp_path / "bars.png"
    result = emotion(
        checkpoint, media["clip"], "--timeline", "--window", 1, "--hop", 0.5, "--json", "--plot", timeline
    )
    assert result.exit_code == 0, result.stderr
    (clip,) = json.loads(result.stdout)["clips"]
    assert clip["clip"] == str(media["clip"]) and clip["streams"] == ["audio", "video"]
    assert sum(clip["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert clip["label"] == max(clip["scores"], key=clip["scores"].get)
    assert len(clip["timeline"]) > 3
    assert all(set(window) == {"start", "end", "label", "scores"} for window in clip["timeline"])
    result = emotion(checkpoint, media["clip"], media["sound"], "--plot", bars)
    assert result.exit_code == 0, result.stderr
    words = result.stdout.split()
    assert all(str(media[name]) in result.stdout for name in ("clip", "sound"))
    assert all(label in words for label in EMOTION_LABELS)  # eighty columns hold them all
    for path in (timeline, bars):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["gone.mp4"], "gone.mp4 does not exist"),
        (["https://example.org/a.mp4"], "is an address"),
        (["CLIP", "--timeline", "--hop", "2", "--window", "1"], "cannot slide"),
        (["CLIP", "--timeline", "--hop", "0"], "cannot slide"),
        (["CLIP", "--timeline", "--window", "60"], "cannot slide"),
        (["CLIP", "CLIP", "--timeline", "--plot", "a.png"], "shows one clip"),
        (["CLIP", "--limit", "max_seconds=0.5"], "MediaLimits.max_seconds"),
        (["CLIP", "--limit", "max_seconds"], "max_seconds is '': give one number above zero"),
        (["CLIP", "--limit", "seconds=3"], "limits has the unknown 'seconds': choose from max_seconds"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(checkpoint, media, arguments, error):
    result = emotion(checkpoint, *(media["clip"] if argument == "CLIP" else argument for argument in arguments))
    assert result.exit_code == 2 and result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert error in line
