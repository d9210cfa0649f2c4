"""A linear start: the extractor says what scikit-learn's regression says, in words that both readings understand."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from helpers import frames, short_labels, sound, wake
from labelled import EMOTIONS, labelled
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset, fit_features
from transformers_empathav.training.extractor.label_words import STEP
from transformers_empathav.training.extractor.linear_start import (
    codes_of_words,
    start_as_regression,
    stream_statistics,
)
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.feature_cache import FeatureCache


HEARD = [labelled(number, EMOTIONS[number % 7], ("audio", sound(number, seconds=0.6))) for number in range(21)]


@pytest.fixture
def started(processor, tmp_path):
    """Makes a training and its dataset, with fitted statistics."""

    def make(items, copies=0):
        training = EmotionTraining(short_labels(wake(tiny_model(processor), 5.0))).eval()
        training.start_at_labels()
        cache = FeatureCache(training.extractor, processor, tmp_path, disturbance=Disturbance())
        dataset = EmotionDataset(items, cache, training.model.config.emotion_labels, copies)
        fit_features(training.model, dataset, gain=3.0)
        return training, dataset

    return make


def test_vectors_move_by_what_the_regression_finds(started):
    training, dataset = started(HEARD)
    path, projection = training.extractor.audio_statistics, training.extractor.embedding_projection
    clips, rows = stream_statistics(dataset, "audio")
    targets = [dataset.targets[row] for row in rows]
    inputs = path.scaled(clips).flatten(1).numpy() / 3.0
    inputs /= np.sqrt(np.mean(np.square(inputs)))
    model = LogisticRegression(C=0.1 / inputs.shape[1], max_iter=1000, class_weight="balanced").fit(inputs, targets)
    odds = torch.tensor(inputs @ model.coef_.T + model.intercept_, dtype=torch.float32)
    accuracies = start_as_regression(training, dataset, 0.1)
    odds = odds - odds.mean(dim=1, keepdim=True)
    directions = training.words - training.words.mean(dim=0)
    directions = directions / directions.square().mean(dim=1, keepdim=True).sqrt()
    batch = EmotionCollator(training.model.config)([dataset[index] for index in range(len(dataset))])
    with torch.no_grad():
        heard = path(batch["audio_features"].float(), batch["input_features_mask"].bool())
        moved = projection.linear(heard) - projection.linear.bias
    assert torch.allclose(moved, STEP * odds @ directions, atol=2e-3 * float(moved.abs().max()))
    assert accuracies == {"audio": pytest.approx(model.score(inputs, targets))}


def test_words_have_codes_and_the_projection_changes_little(started):
    training, _ = started(HEARD[:7])
    weight = training.extractor.embedding_projection.linear.weight
    before = weight.detach().clone()
    codes = codes_of_words(training)
    after = weight.detach().clone()
    assert torch.linalg.matrix_rank(after - before, rtol=1e-3) <= 7
    directions = training.words - training.words.mean(dim=0)
    directions = directions / directions.square().mean(dim=1, keepdim=True).sqrt()
    assert torch.allclose(codes @ after.T, STEP * directions, atol=1e-3)


def test_both_streams_and_copies_take_part(started):
    seen = [labelled(100 + number, EMOTIONS[number % 7], ("video", frames(number))) for number in range(14)]
    training, dataset = started(HEARD[:14] + seen, copies=1)
    assert len(stream_statistics(dataset, "audio")[1]) == 28
    assert set(start_as_regression(training, dataset, 1.0)) == {"audio", "video"}
    assert training.extractor.audio_statistics.weight.abs().sum() > 0
    assert training.extractor.vision_statistics.weight.abs().sum() > 0


def test_clips_that_are_all_alike_leave_the_start_as_it_is(started):
    """Nothing moves in any of them, as in films without a face: there is nothing to tell emotions by."""
    same = [labelled(number, EMOTIONS[number % 7], ("video", frames(1))) for number in range(7)]
    training, dataset = started(same)
    assert start_as_regression(training, dataset, 1.0) == {"video": pytest.approx(1 / 7)}
    assert torch.isfinite(training.extractor.vision_statistics.bias).all()


def test_emotions_that_do_not_occur_are_not_leant_towards(started):
    """Two emotions: the words of the other five are moved alike."""
    training, dataset = started([one for one in HEARD if one["messages"][0]["emotion"] in ("happy", "sad")])
    assert start_as_regression(training, dataset, 1.0)["audio"] > 0.9
    with pytest.raises(ValueError, match="have one emotion"):
        start_as_regression(*started(HEARD[:1]), 1.0)


def test_statistics_that_are_not_read_have_no_weight_and_change_nothing(started):
    training, dataset = started(HEARD)
    path = training.extractor.audio_statistics
    read = torch.zeros(path.weight.shape[:2], dtype=torch.bool)
    read[1, 0] = True
    fit_features(training.model, dataset, gain=3.0, voice=read)
    assert start_as_regression(training, dataset, 1.0)["audio"] > 0.5
    assert path.weight[read].any() and not path.weight[~read].any()
    clips, _ = stream_statistics(dataset, "audio")
    other = torch.where(read[..., None], clips, clips + 5.0)
    assert torch.equal(path.scaled(other), path.scaled(clips))
    # Clips of the training side stay within the limit, as they do where all is read.
    assert path.scaled(clips).square().sum(dim=(1, 2, 3)).mean() == pytest.approx(9.0 * clips.shape[-1], rel=0.05)
