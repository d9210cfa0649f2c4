import io
import struct
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from transformers.dynamic_module_utils import get_imports

from clips import tone, write_clip
from transformers_empathav.processing import media_empathav
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, load_clip
from transformers_empathav.processing.media_limits_empathav import MissingMediaError


def apart(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def shades(frames):
    """Which frame of `write_clip` each frame is."""
    return [round((frame.mean() - 16) / 4) for frame in frames]


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4")


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples))


# What comes out


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mp4", {"video_codec": "mpeg4", "layout": "mono", "audio_rate": 8000}),
        ("clip.mkv", {"audio_codec": "flac", "audio_rate": 96000}),
        ("clip.mkv", {"audio_codec": "pcm_s16le", "layout": "5.1", "audio_rate": 22050}),
        ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48000}),
    ],
)
def test_frames_and_sound_of_containers(tmp_path, name, options):
    (clip,) = load_clip(write_clip(tmp_path / name, **options), num_frames=4)
    assert clip.frames.shape == (4, 64, 96, 3) and clip.frames.dtype == np.uint8
    assert (
        np.abs(np.array(shades(clip.frames)) - [7, 22, 37, 52]).max() <= 1
    )  # 30 per second, at 1/8, 3/8, 5/8, 7/8 of 2 s
    assert (clip.start, clip.end) == (0, pytest.approx(2.0, abs=0.01))
    assert clip.audio.dtype == np.float32 and clip.audio.shape == (pytest.approx(32000, abs=160),)
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[options.get("layout", "stereo")]
    loudness = np.sqrt(np.mean(tone(2, 16000, channels).mean(axis=0) ** 2))
    assert np.sqrt(np.mean(clip.audio[1600:-1600] ** 2)) == pytest.approx(loudness, rel=0.05)


@pytest.mark.parametrize(
    ("codec", "rate", "layout", "tolerance"),
    [
        ("pcm_u8", 8000, "mono", 2e-2),
        ("pcm_s16le", 44100, "stereo", 1e-3),
        ("pcm_s24le", 48000, "stereo", 1e-4),
        ("pcm_s32le", 44100, "5.1", 1e-4),
        ("pcm_f32le", 16000, "stereo", 1e-6),
        ("pcm_f64le", 192000, "stereo", 1e-4),
    ],
)
def test_sound_in_every_number_format_and_layout(tmp_path, codec, rate, layout, tolerance):
    path = write_clip(tmp_path / "sound.wav", fps=None, audio_codec=codec, audio_rate=rate, layout=layout)
    (clip,) = load_clip(path, want="audio")
    wanted = tone(2, 16000, {"mono": 1, "stereo": 2, "5.1": 6}[layout]).mean(axis=0)
    assert clip.frames is None and clip.audio.shape == wanted.shape
    assert apart(clip.audio[800:-800], wanted[800:-800]) < tolerance  # the ends ring where a tone begins at once


def test_audio_of_a_video_file_is_the_same_sound(clip):
    (both,), (video,), (audio,) = load_clip(clip), load_clip(clip, want="video"), load_clip(clip, want="audio")
    assert audio.frames is None and np.array_equal(audio.audio, both.audio)
    assert np.array_equal(video.audio, both.audio) and np.array_equal(video.frames, both.frames)


def test_path_bytes_and_file_object_give_the_same(clip):
    (wanted,) = load_clip(str(clip))
    data = clip.read_bytes()
    with open(clip, "rb") as file:
        file.read(100)
        for source in (clip, data, memoryview(data), io.BytesIO(data), file):
            (given,) = load_clip(source)
            assert np.array_equal(given.audio, wanted.audio) and np.array_equal(given.frames, wanted.frames)
        assert not file.closed


def test_a_file_object_that_cannot_seek_is_read_once(clip):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    (given,) = load_clip(Pipe(clip.read_bytes()))
    assert given.frames.shape[0] == 8
    with pytest.raises(MediaError, match="bytes or more, above the limit of 1000"):
        load_clip(Pipe(clip.read_bytes()), limits=MediaLimits(max_bytes=1000))


def test_variable_frame_rate_is_sampled_by_time(tmp_path):
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 1.6, 1.7]  # frame 4 stays on screen for over a second
    path = write_clip(tmp_path / "vfr.mp4", times=times, audio_rate=None)
    (clip,) = load_clip(path, num_frames=16)
    wanted = [sum(np.array(times) <= time) - 1 for time in (np.arange(16) + 0.5) * clip.end / 16]
    assert clip.audio is None and shades(clip.frames) == wanted and wanted.count(4) > 8


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_skipping_to_key_frames_gives_the_same_frames(tmp_path, codec):
    options = {"seconds": 4, "video_codec": codec, "audio_rate": None, "picture": noise}
    path = write_clip(tmp_path / "clip.mp4", key_every=6, **options)
    few, all_of_them = load_clip(path, num_frames=5), load_clip(path, num_frames=120)
    wanted = all_of_them[0].frames[((np.arange(5) + 0.5) * 24).astype(int)]
    assert np.array_equal(few[0].frames, wanted)


def noise(index):
    return np.random.default_rng(index).integers(0, 255, (64, 96, 3), dtype=np.uint8)


def test_few_frames_repeat(tmp_path):
    path = write_clip(tmp_path / "few.mp4", seconds=1, fps=3, audio_rate=None)
    (clip,) = load_clip(path, num_frames=9)
    assert shades(clip.frames) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_later_sound_is_preceded_by_silence(tmp_path):
    path = write_clip(tmp_path / "late.mkv", audio_codec="pcm_s16le", audio_start=0.5, audio_seconds=1.0)
    (clip,) = load_clip(path)
    assert np.abs(clip.audio[:7800]).max() < 1e-3 < 0.1 < np.abs(clip.audio[8100:8200]).max()
    assert len(clip.audio) == pytest.approx(24000, abs=20) and clip.end == pytest.approx(2.0, abs=0.01)


def test_silence_takes_the_place_of_lost_sound(tmp_path):
    path = write_clip(tmp_path / "whole.mkv", fps=None, audio_codec="pcm_s16le", audio_rate=16000, layout="mono")
    with av.open(str(path)) as source, av.open(str(tmp_path / "hole.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux():
            if packet.pts is not None and not 500 <= packet.pts < 1000:  # milliseconds
                packet.stream = stream
                target.mux(packet)
    (whole,), (hole,) = load_clip(path, want="audio"), load_clip(tmp_path / "hole.mkv", want="audio")
    assert not hole.audio[9000:15000].any()
    assert apart(hole.audio[17600:], whole.audio[17600:]) < 0.2 and hole.end == pytest.approx(2.0, abs=0.01)


def test_a_photo_is_a_video_of_one_frame(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (30, 20), (200, 0, 0)).save(path)
    (clip,) = load_clip(path, num_frames=3)
    assert clip.audio is None and clip.frames.shape == (3, 20, 30, 3) and (clip.frames == [200, 0, 0]).all()


def test_large_frames_are_scaled_down(clip):
    (small,) = load_clip(clip, limits=MediaLimits(max_side=48))
    assert small.frames.shape[1:] == (32, 48, 3)


def test_a_cover_picture_is_no_video(tmp_path):
    cover = io.BytesIO()
    Image.new("RGB", (16, 16)).save(cover, "PNG")
    picture = struct.pack(">I", 3) + struct.pack(">I", 9) + b"image/png" + struct.pack(">5I", 0, 16, 16, 24, 0)
    picture += struct.pack(">I", len(cover.getvalue())) + cover.getvalue()
    flac = write_clip(tmp_path / "song.flac", fps=None, audio_codec="flac").read_bytes()
    end = 4 + 4 + 34  # marker, then the header and body of STREAMINFO
    flac = flac[:end] + bytes([6]) + len(picture).to_bytes(3, "big") + picture + flac[end:]
    assert load_clip(flac, want="audio")[0].end == 2.0
    with pytest.raises(MediaError, match="no video track"):
        load_clip(flac)


# Windows


def test_long_sources_come_in_equal_windows_without_loss(tmp_path):
    path = write_clip(tmp_path / "long.mkv", seconds=7, fps=5, audio_codec="pcm_s16le", audio_rate=16000)
    whole, parts = load_clip(path, num_frames=12), load_clip(path, num_frames=4, window_seconds=3.0)
    assert len(whole) == 1 and len(parts) == 3
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]] and parts[-1].end == whole[0].end
    assert all(part.end - part.start <= 3.0 for part in parts)
    assert np.array_equal(np.concatenate([part.audio for part in parts]), whole[0].audio)
    assert np.array_equal(np.concatenate([part.frames for part in parts]), whole[0].frames)


def test_sound_that_ends_before_the_video_is_none_in_later_windows(tmp_path):
    path = write_clip(tmp_path / "short.mkv", seconds=4, fps=5, audio_codec="pcm_s16le", audio_seconds=1.0)
    first, second = load_clip(path, window_seconds=2.0)
    assert len(first.audio) == 16000 and second.audio is None and second.frames.shape[0] == 8


# Refusals


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"these are words, not media\n" * 40, "no media file"),
        (b"#EXTM3U\n#EXTINF:4,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "no media file"),
        (b"ffconcat version 1.0\nfile clip.mp4\n", "no media file"),
        (bytes(5000), "no media file"),
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.txt", "clip.m3u8"])
def test_files_that_are_no_media_are_refused(tmp_path, content, message, name):
    (tmp_path / name).write_bytes(content)
    for source in (tmp_path / name, content):
        with pytest.raises(MediaError, match=message) as error:
            load_clip(source)
        assert "\n" not in str(error.value)


def test_paths_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(MissingMediaError, match="nothing.mp4: no such file"):
        load_clip(tmp_path / "nothing.mp4")
    with pytest.raises(FileNotFoundError):
        load_clip(str(tmp_path / "nothing.mp4"))
    with pytest.raises(MediaError, match="a directory"):
        load_clip(tmp_path)
    with pytest.raises(MediaError, match="open as text"), open(__file__) as file:
        load_clip(file)
    with pytest.raises(MediaError, match="int is no media source"):
        load_clip(3)


def test_a_missing_track_is_named(tmp_path, clip):
    with pytest.raises(MediaError, match="no video track"):
        load_clip(write_clip(tmp_path / "sound.wav", fps=None, audio_codec="pcm_s16le"))
    with pytest.raises(MediaError, match="no audio track"):
        load_clip(write_clip(tmp_path / "silent.mp4", audio_rate=None), want="audio")
    photo = io.BytesIO()
    Image.new("RGB", (8, 8)).save(photo, "JPEG")
    with pytest.raises(MediaError, match="photo has no sound"):
        load_clip(photo, want="audio")


def test_an_mp4_without_its_index_is_refused(clip):
    data = clip.read_bytes()
    with pytest.raises(MediaError, match="cut off before its index"):
        load_clip(data[: len(data) * 3 // 4])


def test_ten_hours_are_refused_by_the_header_or_the_first_packet_beyond(tmp_path):
    hours = list(range(0, 36001, 100))
    with pytest.raises(MediaError, match=r"3600\d.*s long, above the limit of 300"):
        load_clip(write_clip(tmp_path / "long.mp4", times=hours, audio_rate=None))
    live = write_clip(tmp_path / "live.mkv", times=hours, audio_rate=None, format="matroska", options={"live": "1"})
    with pytest.raises(MediaError, match=r"s long, above the limit of 300"):
        load_clip(live)
    write_wav(tmp_path / "long.wav", 16000)
    data = bytearray((tmp_path / "long.wav").read_bytes())
    data[40:44] = struct.pack("<I", 36000 * 32000)
    (tmp_path / "long.wav").write_bytes(data)
    with open(tmp_path / "long.wav", "r+b") as file:
        file.truncate(44 + 36000 * 32000)  # a hole: it takes no room on the disk
    with pytest.raises(MediaError, match="36000 s long, above the limit of 300"):
        load_clip(tmp_path / "long.wav", want="audio")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_seconds": 1.0}, "s long, above the limit of 1"),
        ({"max_frames": 59}, "60 frames, above the limit of 59"),
        ({"max_pixels": 6000}, "6144 pixels a frame, above"),
        ({"max_bytes": 1000}, "bytes, above the limit of 1000"),
    ],
)
def test_each_limit_is_kept_and_named(clip, limits, message):
    (name,) = limits
    with pytest.raises(MediaError, match=f"{message}.*MediaLimits.{name}"):
        load_clip(clip, limits=MediaLimits(**limits))


def test_a_zero_length_sound_is_refused(tmp_path):
    write_wav(tmp_path / "zero.wav", 0)
    with pytest.raises(MediaError, match="zero length"):
        load_clip(tmp_path / "zero.wav", want="audio")


def test_tags_in_another_encoding_do_no_harm(tmp_path):
    data = write_clip(tmp_path / "song.mp3", fps=None, audio_codec="libmp3lame").read_bytes()
    title = b"\x03caf\xe9"  # says UTF-8, is Latin-1
    frame = b"TIT2" + len(title).to_bytes(4, "big") + b"\0\0" + title
    tag = b"ID3\x04\0\0" + len(frame).to_bytes(4, "big") + frame
    assert load_clip(tag + data[data.index(b"\xff\xfb") :], want="audio")[0].end == pytest.approx(2.0, abs=0.1)


def test_missing_libraries_are_named_with_the_command(monkeypatch, clip):
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ImportError, match="pip install soxr"):
        load_clip(clip)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install av"):
        load_clip(clip)


@pytest.mark.parametrize(
    "name",
    ["face_crop_empathav"]
    + [path.stem for path in sorted(Path(media_empathav.__file__).parent.glob("media_*_empathav.py"))],
)
def test_files_load_from_a_checkpoint_without_media_libraries(name):
    path = Path(media_empathav.__file__).with_name(f"{name}.py")
    assert set(get_imports(path)) <= {"numpy", "PIL", "transformers", *sys.stdlib_module_names}


def test_arguments_are_checked(clip):
    with pytest.raises(ValueError, match="want='sound'"):
        load_clip(clip, want="sound")
    with pytest.raises(ValueError, match="above zero"):
        load_clip(clip, num_frames=0)
    with pytest.raises(ValueError, match="sound goes with frames"):
        load_clip(clip, want="audio", sound=tone(1, 16000))
