import numpy as np
import pytest
import torch

from clips import write_clip
from transformers_empathav.data.faces import Faces
from transformers_empathav.evaluation.faces.scores import clip_scores, face_scores
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS, FaceEncoderConfig
from transformers_empathav.modeling.face_encoder_empathav import FaceEncoder


@pytest.fixture
def tower():
    torch.manual_seed(0)
    config = FaceEncoderConfig(architecture="residual", image_size=16, stem_channels=4, module_channels=[8])
    return FaceEncoder(config).eval()


@torch.no_grad()
def expected(tower, grey):
    pixels = torch.from_numpy(np.asarray(grey, dtype=np.float32))[:, None].expand(-1, 3, -1, -1) / 127.5 - 1
    return tower(pixels).logits.softmax(-1).numpy()


def test_scores_follow_the_names_of_labels(tower):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 16, 16), dtype=np.uint8)
    faces = Faces(pixels, np.zeros(20, dtype=int), list(map(str, range(20))))
    assert np.allclose(face_scores(tower, faces, batch_size=7), expected(tower, pixels), atol=1e-5)
    tower.config.id2label = dict(enumerate(EMOTION_LABELS[::-1]))
    tower.config.label2id = {label: index for index, label in tower.config.id2label.items()}
    assert np.allclose(face_scores(tower, faces), expected(tower, pixels)[:, ::-1], atol=1e-5)


def test_a_clip_has_the_mean_of_its_frames(tower, tmp_path):
    pytest.importorskip("av", reason="clips are decoded with PyAV")
    ramp = np.repeat(np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))[..., None], 3, axis=2)

    def picture(index):  # one half of the clip is the other half mirrored
        return ramp if index < 30 else ramp[:, ::-1]

    path = write_clip(tmp_path / "clip.mp4", seconds=2.0, size=(48, 48), picture=picture)
    items = [{"id": "clip", "messages": [{"role": "user", "content": [{"type": "video", "path": str(path)}]}]}]
    small = np.tile(np.arange(5, 240, 15), (16, 1))
    two = expected(tower, np.stack([small, small[:, ::-1]]))
    assert np.abs(two[0] - two[1]).max() > 1e-3
    assert np.allclose(clip_scores(tower, items, num_frames=4)[0], two.mean(axis=0), atol=0.02)

    def left_half(frames):
        return frames[:, :24, :24]

    assert not np.allclose(clip_scores(tower, items, crop=left_half)[0], two.mean(axis=0), atol=1e-3)


def test_a_clip_without_frames_is_refused(tower, tmp_path):
    pytest.importorskip("av", reason="clips are decoded with PyAV")
    path = write_clip(tmp_path / "sound.wav", fps=None, layout="mono", audio_codec="pcm_s16le")
    items = [{"id": "sound", "messages": [{"role": "user", "content": [{"type": "audio", "path": str(path)}]}]}]
    with pytest.raises(ValueError, match="no video track"):
        clip_scores(tower, items)
