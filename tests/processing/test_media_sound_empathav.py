"""Which sound is read: silence is none, and the voice is found on one of several tracks or channels."""

import numpy as np
import pytest
import torch

from clips import tone, write_clip, write_sounds
from helpers import short_labels
from transformers_empathav.processing.media_empathav import Clip, MediaError, MediaLimits, encode_clips, load_clip


VOICE = tone(1, 16000)[0]
NOTHING = np.zeros(16000, np.float32)
DITHER = np.random.default_rng(0).choice([-1, 0, 1], 16000).astype(np.float32) / 2**15


def muted(path, **options):
    """A clip whose sound track is there, but silent."""
    return write_clip(path, frequency=0.0, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mkv", {"audio_codec": "flac"}),
        ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48000}),
        ("clip.avi", {"audio_codec": "libmp3lame"}),
    ],
)
def test_a_silent_track_counts_as_no_sound(tmp_path, caplog, processor, name, options):
    (silent,), (alone,) = (
        load_clip(muted(tmp_path / name, **options)),
        load_clip(write_clip(tmp_path / f"no_{name}", **{**options, "audio_rate": None})),
    )
    assert silent.audio is None and np.array_equal(silent.frames, alone.frames) and silent.end == alone.end
    assert f"{name}: its sound is digital silence" in caplog.text
    encoded = encode_clips([silent], processor.feature_extractor, processor.image_processor)
    assert encoded["audio_mask"].tolist() == [0] and "input_features" not in encoded


@pytest.mark.parametrize("array", [NOTHING, DITHER, np.zeros(16000, np.int16), np.full(16000, 127, np.uint8)])
def test_silence_alone_is_masked(array, caplog, processor):
    (clip,) = load_clip(array, want="audio")
    assert np.abs(clip.audio).max() < 0.01 and clip.frames is None and clip.end == 1.0
    assert "the array: its sound is digital silence" in caplog.text
    encoded = encode_clips([clip, Clip(VOICE, None, 0, 1)], processor.feature_extractor, processor.image_processor)
    assert encoded["audio_mask"].tolist() == [0, 1]
    assert encode_clips([clip], processor.feature_extractor, processor.image_processor)["audio_mask"].tolist() == [0]


def test_a_model_reads_silence_as_nothing(processor, model):
    model = short_labels(model)
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    face = processor(text="<|av|>hi", videos=[frames])
    both = processor(text="<|av|>hi", videos=[frames], audio=[NOTHING])
    heard = processor(text="<|av|>hi", videos=[frames], audio=[VOICE])
    scores = [model.predict_emotion(**inputs) for inputs in (face, both, heard)]
    assert torch.equal(scores[0], scores[1]) and not torch.allclose(scores[0], scores[2], atol=1e-4)
    alone = model.predict_emotion(**processor(text="<|av|>hi", audio=NOTHING))
    assert torch.allclose(alone, model.predict_emotion(**processor(text="hi")), atol=1e-5)  # from the text


def test_quiet_sound_is_no_silence():
    (clip,) = load_clip(VOICE / 1000, want="audio")
    assert np.array_equal(clip.audio, VOICE / 1000)


def test_a_silent_window_between_others_has_no_sound():
    sound, frames = np.concatenate([VOICE, NOTHING, VOICE]), np.zeros((6, 4, 4, 3), np.uint8)
    assert [clip.audio is None for clip in load_clip(frames, sound=sound, window_seconds=1.0)] == [False, True, False]


def test_frames_with_silent_sound_keep_its_length():
    frames = np.zeros((10, 4, 4, 3), np.uint8)
    (clip,) = load_clip(frames, sound=np.zeros(32000, np.float32))
    assert clip.audio is None and clip.end == 2.0


@pytest.mark.parametrize("order", [[NOTHING, VOICE], [VOICE, NOTHING], [0.05 * VOICE[::-1], NOTHING, VOICE]])
def test_the_loudest_of_several_tracks_is_read_and_named(tmp_path, caplog, order):
    path = write_sounds(tmp_path / "tracks.mkv", [one[None] for one in order])
    (clip,) = load_clip(path, want="audio")
    assert np.abs(clip.audio - VOICE).max() < 1e-3
    number = next(index for index, one in enumerate(order) if one is VOICE)
    assert f"it has {len(order)} sound tracks; stream {number}, the loudest, is read" in caplog.text


def test_of_tracks_as_loud_as_each_other_the_files_first_choice_is_read(tmp_path):
    tracks = [tone(1, 16000, frequency=pitch) for pitch in (300.0, 500.0)]
    (clip,) = load_clip(write_sounds(tmp_path / "tracks.mkv", tracks), want="audio")
    assert np.abs(clip.audio - tracks[0][0]).max() < 1e-3


def test_a_track_that_does_not_decode_gives_way_to_one_that_does(tmp_path):
    path = write_sounds(tmp_path / "tracks.mkv", [VOICE[None], 0.3 * VOICE[None]], codec="flac")
    data = bytearray(path.read_bytes())
    frames = [place for place in range(len(data)) if data[place : place + 3] == b"\xff\xf8\xc5"]
    first = [place for place in frames if data[place - 4] & 0x7F == 1]  # blocks begin with the number of the track
    for place in first or frames[::2]:
        data[place + 6 : place + 60] = bytes(54)
    (clip,) = load_clip(bytes(data), want="audio")
    assert np.abs(clip.audio[:8000]).max() > 0.1


@pytest.mark.parametrize(
    ("channels", "wanted", "said"),
    [
        ([VOICE, NOTHING], VOICE, "nothing is heard on channel 2 of 2"),
        ([NOTHING, VOICE], VOICE, "nothing is heard on channel 1 of 2"),
        ([VOICE, 0.3 + NOTHING], VOICE, "nothing is heard on channel 2 of 2"),  # an offset is no sound
        ([VOICE, -VOICE], VOICE, "its channels cancel each other, so channel 1"),
        ([-0.8 * VOICE, VOICE], VOICE, "its channels cancel each other, so channel 2"),
        ([VOICE, 0.5 * VOICE], 0.75 * VOICE, ""),
        ([VOICE, tone(1, 16000, frequency=1000.0)[0]], 0.5 * (VOICE + tone(1, 16000, frequency=1000.0)[0]), ""),
    ],
)
def test_channels_that_carry_nothing_or_cancel_do_not_hide_the_voice(tmp_path, caplog, channels, wanted, said):
    stereo = np.stack(channels)
    path = write_sounds(tmp_path / "stereo.wav", [stereo])
    for source in (path, stereo):
        caplog.clear()
        (clip,) = load_clip(source, want="audio")
        assert np.abs(clip.audio - wanted).max() < 1e-3
        assert said in caplog.text if said else not caplog.text


def test_a_voice_on_one_of_six_channels_is_heard_in_full():
    channels = np.zeros((6, 16000), np.float32)
    channels[2] = VOICE
    assert np.abs(load_clip(channels, want="audio")[0].audio - VOICE).max() < 1e-6


def test_what_a_declared_rate_and_a_gap_ask_for_is_refused_before_it_is_taken(tmp_path):
    sound = tone(0.1, 48000)
    path = write_sounds(tmp_path / "a.mkv", [sound], rate=48000)
    data = path.read_bytes()
    rate = bytes([0xB5, 0x88]) + np.array(48000, ">f8").tobytes()
    assert rate in data
    for declared, limit in ((2e9, "max_sampling_rate"), (1e6, "max_sampling_rate"), (700_000.0, None)):
        changed = data.replace(rate, rate[:2] + np.array(declared, ">f8").tobytes())
        if limit is None:
            load_clip(changed, want="audio")
            continue
        with pytest.raises(MediaError, match=f"{declared:.0f} Hz, above the limit .*MediaLimits.{limit}"):
            load_clip(changed, want="audio")
    with pytest.raises(MediaError, match="samples over all channels, above the limit of 4000"):
        load_clip(path, want="audio", limits=MediaLimits(max_samples=4000))
    with pytest.raises(MediaError, match="32000 samples over all channels"):
        load_clip(tone(1, 16000, 2), want="audio", limits=MediaLimits(max_samples=20000))
