"""The cache of frozen features: what an entry depends on, that it changes nothing, and what cannot be read."""

import errno
import shutil
import sys

import numpy as np
import pytest
import torch

from clips import write_clip
from helpers import frames, relative_error, sound
from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.processing.media_empathav import MediaError
from transformers_empathav.testing.tiny import tiny_model, tiny_processor
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.feature_cache import FeatureCache, clip_parts


def array_item(name="a", emotion="sad", **sources):
    parts = [{"type": kind, kind: source} for kind, source in sources.items()]
    return {"id": name, "messages": [{"role": "user", "emotion": emotion, "content": parts}]}


@pytest.fixture
def clip(tmp_path):
    return clip_item(write_clip(tmp_path / "a.mp4", seconds=1.0), "sad", "ann")


def cache_of(model, processor, folder=None, **kwargs):
    return FeatureCache(model.model.extractor, processor, folder, **kwargs)


def count(folder):
    return len(list(folder.rglob("*.safetensors")))


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.audio, b.audio) and torch.equal(a.video, b.video) for a, b in zip(one, other)
    )


def test_a_cached_clip_is_the_uncached_one(model, processor, clip, tmp_path):
    cache = cache_of(model, processor, tmp_path / "features")
    first, again, direct = cache.load(clip), cache.load(clip), cache_of(model, processor).load(clip)
    assert equal(first, again) and equal(first, direct) and count(tmp_path / "features") == 1


def test_entries_are_found_whatever_the_dtype_of_the_language_model(model, processor, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    names = {
        cache_of(type(model).from_pretrained(tmp_path / "saved", dtype=dtype), processor).fingerprint
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    assert len(names) == 1


def test_cached_and_uncached_give_the_loss_of_the_encoders_inputs(model, processor, clip, tmp_path):
    """To 1e-5 with and without a folder, and to the rounding of the features through the model's own path."""
    training = EmotionTraining(model).eval()
    losses = []
    for cache in (cache_of(model, processor, tmp_path / "features"), cache_of(model, processor)):
        for _ in range(2):  # the second time from disk
            batch = EmotionCollator(model.config)([EmotionDataset([clip], cache, model.config.emotion_labels)[0]])
            with torch.no_grad():
                losses.append(torch.nn.functional.cross_entropy(training(**batch), batch["labels"]))
    assert max(float(abs(loss - losses[0])) for loss in losses) < 1e-5
    inputs = processor.apply_chat_template([clip["messages"]], tokenize=True, return_dict=True)
    expected = -model.predict_emotion(**inputs)[0, 5].log()
    assert relative_error(losses[0], expected) < 1e-3


def test_an_entry_belongs_to_bytes_encoders_sampling_and_copy(model, processor, clip, tmp_path):
    cache = cache_of(model, processor, tmp_path)
    known = {cache.path(clip)}
    same = shutil.copy(clip["messages"][-1]["content"][0]["path"], tmp_path / "b.mp4")
    assert cache.path(clip_item(same, "happy")) in known  # the bytes count, not the name
    known.add(cache.path(clip_item(write_clip(tmp_path / "c.mp4", seconds=1.0, frequency=330.0), "sad")))
    known |= {cache.path(clip, copy=1), cache.path(clip, copy=2)}
    known.add(cache_of(model, processor, tmp_path, disturbance=Disturbance(min_snr=0.0)).path(clip, copy=1))
    known.add(cache_of(tiny_model(processor, seed=1), processor, tmp_path).path(clip))
    known.add(cache_of(model, processor, tmp_path, dtype=torch.float32).path(clip))
    try:
        processor.num_frames += 1
        known.add(cache_of(model, processor, tmp_path).path(clip))
    finally:
        processor.num_frames -= 1
    assert len(known) == 8


def test_an_entry_belongs_to_what_crops_the_face(model, clip, tmp_path, monkeypatch):
    """Frames that stayed whole for want of OpenCV are not taken for crops, and the other way round."""
    cv2, cropping = pytest.importorskip("cv2"), tiny_processor()

    def path(item=clip):
        return cache_of(model, cropping, tmp_path).path(item)

    known, heard = [path()], array_item(audio=sound(1))
    for content in ("<cascade/>", "<another/>"):
        (tmp_path / "cascade.xml").write_text(content)
        cropping.use_face_cascade(tmp_path / "cascade.xml")
        known.append(path())
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "__version__", "0.1")
        known.append(path())
    with_it = path(heard)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        known.append(path())
        assert path(heard) == with_it  # sound has no face
    cropping.use_face_detector(tmp_path / "cascade.xml")
    assert path() not in known
    cropping.use_face_cascade(tmp_path / "cascade.xml")
    assert len(set(known)) == 5
    with monkeypatch.context() as patch:  # there are builds without cascades
        patch.delattr("cv2.CascadeClassifier")
        assert path() == known[-1]


def test_a_changed_file_is_read_anew(model, processor, tmp_path):
    path = write_clip(tmp_path / "a.mp4", seconds=1.0)
    cache, item = cache_of(model, processor, tmp_path / "features"), clip_item(path, "sad")
    before = cache.load(item)
    write_clip(path, seconds=1.5, frequency=220.0)
    assert cache.load(item)[0].audio.shape != before[0].audio.shape


def test_a_damaged_entry_is_computed_anew(model, processor, clip, tmp_path):
    cache = cache_of(model, processor, tmp_path)
    whole = cache.load(clip)
    cache.path(clip).write_bytes(cache.path(clip).read_bytes()[:100])
    assert equal(cache.load(clip), whole)
    cache.path(clip).write_bytes(b"")
    assert equal(cache.load(clip), whole) and equal(cache.load(clip), whole)


def test_an_interrupted_write_leaves_nothing(model, processor, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        cache_of(model, processor, tmp_path / "features").load(clip)
    assert not [path for path in (tmp_path / "features").rglob("*") if path.is_file()]


def test_a_full_disk_is_not_the_fault_of_a_clip(model, processor, clip, tmp_path, monkeypatch):
    """A clip whose entry could not be written would pass for one that cannot be read."""
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(full))
    cache = cache_of(model, processor, tmp_path / "features")
    for write in (cache.load, lambda item: cache.prepare([item], max_unreadable=1.0, progress=False)):
        with pytest.raises(OSError, match="could not be written .No space left on device.: check disk"):
            write(clip)
    assert not [path for path in (tmp_path / "features").rglob("*") if path.is_file()]


def test_prepare_goes_on_where_it_stopped(model, processor, tmp_path, monkeypatch):
    items = [clip_item(write_clip(tmp_path / f"{n}.mp4", seconds=0.5, frequency=200 + n), "sad") for n in range(3)]
    cache = cache_of(model, processor, tmp_path / "features", disturbance=Disturbance())
    cache.load(items[0])
    seen = []
    monkeypatch.setattr(cache, "encode", lambda windows, own=cache.encode: seen.append(1) or own(windows))
    assert cache.prepare(items, copies=1, progress=False) == items and len(seen) == 5
    assert cache.prepare(items, copies=1, progress=False) == items and len(seen) == 5


def test_unreadable_clips_are_left_out_listed_and_too_many_end_the_run(model, processor, clip, tmp_path, caplog):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film at all")
    items = [clip, clip_item(broken, "sad"), clip_item(tmp_path / "gone.wav", "sad")]
    for folder in (tmp_path / "features", None):
        cache = cache_of(model, processor, folder)
        assert cache.prepare(items, max_unreadable=0.7, progress=False) == [clip]
        with pytest.raises(ValueError, match="2 of 3 clips cannot be read(.|\n)*broken(.|\n)*gone(.|\n)*too many"):
            cache.prepare(items, max_unreadable=0.5, progress=False)
    with pytest.raises(MediaError):
        cache.load(items[1])


def test_a_long_clip_has_several_windows_and_a_photo_no_sound(model, processor):
    cache = cache_of(model, processor)
    windows = cache.load(array_item(audio=sound(1, seconds=5.0)))
    assert len(windows) == 3 and all(window.video is None for window in windows)
    (photo,) = cache.load(array_item(video=frames(1, count=1)))
    assert photo.audio is None and photo.video.shape[1] == processor.num_frames


@pytest.mark.parametrize("rate", [8000, 96000])
def test_sound_of_any_rate_and_silence_have_features(model, processor, rate):
    cache, sources = cache_of(model, processor), {}
    for name, wave in (("tone", sound(1, rate=rate)), ("silence", np.zeros(rate, np.float32))):
        item = array_item(audio=wave)
        item["messages"][0]["content"][0]["sampling_rate"] = rate
        (sources[name],) = cache.load(item)
    assert sources["tone"].audio.shape == sources["silence"].audio.shape
    assert torch.isfinite(sources["silence"].audio).all()


def test_a_copy_is_the_same_each_time_and_not_the_clip(model, processor, clip):
    cache = cache_of(model, processor, disturbance=Disturbance(max_speed=0.0))
    plain, first, again, other = (cache.load(clip, copy)[0].audio for copy in (0, 1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, plain)


def test_a_message_without_a_clip_is_refused():
    with pytest.raises(ValueError, match="no clip in its last message"):
        clip_parts({"id": "x", "messages": [{"role": "user", "content": "only words"}]})
