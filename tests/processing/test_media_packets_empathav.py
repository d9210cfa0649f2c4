"""Files that are damaged, cut off, or streamed without a length: what decodes is used, with a warning."""

import io
import struct
import wave
import zlib

import numpy as np
import pytest

from clips import OneWay, tone, write_clip, write_sounds
from transformers_empathav.processing import media_packets_empathav
from transformers_empathav.processing.media_empathav import MediaError, MediaLimits, load_clip
from transformers_empathav.processing.media_headers_empathav import mend


FILES = [
    ("clip.mp4", {"options": {"movflags": "faststart"}}),
    ("clip.mkv", {"audio_codec": "flac"}),
    ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48000}),
    ("clip.flv", {}),
    ("sound.wav", {"audio_codec": "pcm_s16le", "fps": None}),
    ("sound.flac", {"audio_codec": "flac", "fps": None}),
]


@pytest.mark.parametrize(("name", "options"), FILES)
@pytest.mark.parametrize("part", [0.5, 0.8])
def test_of_a_cut_off_file_what_decodes_is_used_with_a_warning(tmp_path, caplog, name, options, part):
    whole = write_clip(tmp_path / name, **options)
    want = "both" if options.get("fps", 30) else "audio"
    (full,) = load_clip(whole, want=want)
    assert not caplog.text
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    (clip,) = load_clip(cut, want=want)
    kept = len(clip.audio) / len(full.audio)
    assert part - 0.25 < kept <= part + 0.15  # 24 ms of sound and 33 ms of video do not take the same share of bytes
    assert np.abs(clip.audio[800:8000] - full.audio[800:8000]).max() < 1e-3
    assert f"cut_{name}: it is damaged or cut off" in caplog.text
    if want == "both":
        assert clip.frames.shape == full.frames.shape


@pytest.mark.parametrize(("name", "options"), FILES[1:])
def test_a_file_of_which_too_little_decodes_is_refused(tmp_path, name, options):
    data = write_clip(tmp_path / name, **options).read_bytes()
    want = "both" if options.get("fps", 30) else "audio"
    with pytest.raises(MediaError, match=r"[\d.]+ of [\d.]+ \w+.* less than the 95% .*MediaLimits.min_share"):
        load_clip(data[: len(data) // 2], want=want, limits=MediaLimits(min_share=0.95))


def test_the_share_that_must_decode_is_a_quarter(tmp_path):
    data = write_clip(tmp_path / "a.wav", fps=None, audio_codec="pcm_s16le").read_bytes()
    assert load_clip(data[: int(len(data) * 0.3)], want="audio")[0].end == pytest.approx(
        0.6, abs=0.05
    )  # PyAV may lose the last packet
    with pytest.raises(MediaError, match="0.4 of 2 s can be read, less than the 25%"):
        load_clip(data[: int(len(data) * 0.2)], want="audio")


def noise(index):
    return np.random.default_rng(index).integers(0, 255, (64, 96, 3), dtype=np.uint8)


def test_damage_in_the_middle_is_concealed_or_refused_but_never_escapes(tmp_path, caplog):
    data = write_clip(tmp_path / "clip.mkv", seconds=1, audio_codec="flac", picture=noise).read_bytes()
    rng = np.random.default_rng(0)
    marked = 0
    for _ in range(12):
        damaged, start = bytearray(data), rng.integers(len(data) // 10, len(data) - 2000)
        damaged[start : start + 2000] = rng.bytes(2000)
        caplog.clear()
        try:
            (clip,) = load_clip(bytes(damaged))
            assert clip.frames.shape == (8, 64, 96, 3)
            marked += bool(caplog.text)
        except MediaError:
            marked += 1
    assert marked > 6


def test_a_lost_part_of_the_sound_becomes_silence_at_its_place(tmp_path, caplog):
    whole = write_sounds(tmp_path / "a.mkv", [tone(2, 16000)], codec="flac")
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    (clip,), (full,) = load_clip(bytes(data), want="audio"), load_clip(whole, want="audio")
    assert len(clip.audio) == pytest.approx(32000, abs=10) and "packets of stream 0" in caplog.text
    same = np.abs(clip.audio - full.audio[: len(clip.audio)]) < 1e-3
    assert same[:8000].all() and same[-8000:].all() and not same.all()


STREAMS = {
    "wav": {"audio_codec": "pcm_s16le"},
    "rf64": {"format": "wav", "audio_codec": "pcm_s16le", "options": {"rf64": "always"}},
    "w64": {"audio_codec": "pcm_s16le"},
    "au": {"audio_codec": "pcm_s16be"},
    "aiff": {"audio_codec": "pcm_s16be"},
    "caf": {"audio_codec": "pcm_s16le"},
    "flac": {"audio_codec": "flac"},
    "mp3": {"audio_codec": "libmp3lame"},
    "adts": {},
    "ogg": {"audio_codec": "libopus", "audio_rate": 48000},
    "matroska": {"fps": 30},
    "webm": {"fps": 30, "video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48000},
    "flv": {"fps": 30},
    "mpegts": {"fps": 30},
    "avi": {"fps": 30, "audio_codec": "libmp3lame"},
    "asf": {"fps": 30, "video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    "mp4": {"fps": 30, "options": {"movflags": "frag_keyframe+empty_moov"}},
    "ivf": {"fps": 30, "video_codec": "libvpx", "audio_rate": None},
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_file_streamed_without_a_final_size_is_whole(name, caplog):
    options = {"fps": None, "format": name, **STREAMS[name]}
    target = OneWay()
    write_clip(target, **options)
    (clip,) = load_clip(bytes(target.data), want="any")
    assert clip.end == pytest.approx(2.0, abs=0.08) and not caplog.text
    assert (clip.frames is not None) == bool(options["fps"])
    if options.get("audio_rate", 1):
        assert len(clip.audio) == pytest.approx(32000, abs=1300)
        assert np.sqrt(np.mean(clip.audio[1600:-1600] ** 2)) == pytest.approx(0.375 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_whose_size_was_never_filled_in_is_whole(size, caplog):
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((1, 2, 16000, 0, "NONE", ""))
        target.writeframes((tone(1, 16000)[0] * 32767).astype("<i2").tobytes())
    data = bytearray(file.getvalue())
    data[40:44] = struct.pack("<I", size)
    (clip,) = load_clip(bytes(data), want="audio")
    assert np.abs(clip.audio - tone(1, 16000)[0]).max() < 1e-3 and not caplog.text


def test_a_header_longer_than_the_content_does_not_hide_it(tmp_path, caplog):
    data = bytearray(write_clip(tmp_path / "a.mkv", audio_codec="flac").read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # the duration, eight bytes, in milliseconds
    (length,) = struct.unpack(">d", data[place : place + 8])
    data[place : place + 8] = struct.pack(">d", 40 * length)
    (clip,) = load_clip(bytes(data))
    assert clip.end == pytest.approx(2.0, abs=0.05)
    assert "its header says 80.00 s, but it holds 2.00 s" in caplog.text
    data = bytearray(write_clip(tmp_path / "a.mp4").read_bytes())
    place = data.index(b"mvhd") + 4 + 16
    data[place : place + 4] = struct.pack(">I", 40 * int.from_bytes(data[place : place + 4], "big"))
    assert load_clip(bytes(data))[0].end == pytest.approx(2.0, abs=0.05)


def listing(data, count):
    """An MP4 file whose video has `count` samples of one byte, by its index."""
    data = bytearray(data)
    for kind, fields in ((b"stsz", (1, count)), (b"stsc", (1, 1, count, 1)), (b"stts", (1, count, 1))):
        struct.pack_into(f">{len(fields)}I", data, data.index(kind) + 8, *fields)
    return bytes(data)


def test_an_index_of_more_samples_than_bytes_is_refused_before_memory_is_taken(tmp_path):
    data = write_clip(tmp_path / "a.mp4", seconds=0.5, fps=10).read_bytes()
    pieces = write_clip(
        tmp_path / "b.mp4", seconds=0.5, fps=10, options={"movflags": "frag_keyframe+empty_moov"}
    ).read_bytes()
    place = pieces.index(b"trun") + 4
    fragment = (
        pieces[:place] + struct.pack(">II", 0, 10**8) + pieces[place + 8 :]
    )  # samples without fields of their own
    for bomb in (listing(data, 5 * 10**7), listing(data, 2**32 - 1), fragment, b"\0\0\0\x08xxxx" + fragment):
        with pytest.raises(MediaError, match=r"the given bytes: its index lists \d+ samples in \d+ bytes"):
            load_clip(bomb)
    for whole in (data, pieces):
        assert load_clip(whole, limits=MediaLimits(min_share=0))[0].end > 0.4
    nested = b"".join(struct.pack(">I4s", 8 * (5000 - depth), b"moov") for depth in range(5000))
    for strange in (nested, struct.pack(">I4sQ", 1, b"moov", 2**63), b"\0\0\0\x01moov"):
        with pytest.raises(MediaError) as error:
            load_clip(strange)
        assert "\n" not in str(error.value)


def element(name, *content):
    """An element of Matroska: its id in hexadecimal, its length, its content."""
    body = b"".join(content)
    return bytes.fromhex(name) + (len(body) | 1 << 56).to_bytes(8, "big") + body


def test_packets_that_unpack_to_more_than_the_file_holds_are_refused():
    """Matroska may compress its packets by zlib; here each has a thousandth of its size."""
    compression = element("6d80", element("6240", element("5034", element("4254", b"\0"))))
    sound = element("e1", element("b5", struct.pack(">d", 192000.0)), element("9f", b"\1"), element("6264", b"\x10"))
    named = element("d7", b"\1"), element("73c5", b"\1"), element("83", b"\2"), element("86", b"A_PCM/INT/LIT")
    track = element("1654ae6b", element("ae", *named, compression, sound))
    packed = zlib.compress(bytes(2_000_000), 9)
    blocks = element("1f43b675", element("e7", b"\0"), *[element("a3", b"\x81\0\0\x80" + packed)] * 20)
    file = element("1a45dfa3", element("4282", b"matroska"))
    file += element("18538067", element("1549a966", element("2ad7b1", b"\x0f\x42\x40")), track, blocks)
    with pytest.raises(MediaError, match="the given bytes: its packets unpack to far more than the file holds"):
        load_clip(file, want="audio")


def test_packets_are_counted(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv", seconds=1, fps=10)
    monkeypatch.setattr(media_packets_empathav, "_MOST_PACKETS", 20)
    with pytest.raises(MediaError, match="a.mkv: it has more than 20 packets"):
        load_clip(path)


def test_headers_are_mended_only_where_they_are_open():
    target = OneWay()
    write_clip(target, fps=None, format="aiff", audio_codec="pcm_s16be")
    mended = mend(bytes(target.data), len(target.data))
    assert mended != target.data and mend(mended, len(mended)) == mended
    for head in (
        b"FORM",
        b"FORM\0\0\0\0AIFF",
        b"riff" + bytes(60),
        b"RF64\xff\xff\xff\xffWAVEds64",
        b"RIFF" + bytes(80),
    ):
        assert mend(head, 1000) == head
