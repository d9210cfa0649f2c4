"""Labelled clips of chords and grey patches, as the training of the extractor takes them."""

from helpers import frames, sound, user
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset
from transformers_empathav.training.feature_cache import FeatureCache


EMOTIONS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


def labelled(number, emotion, *parts):
    """A conversation of one message with an emotion."""
    return {"id": str(number), "messages": [user(*parts, emotion=emotion)]}


# Every emotion has a chord of its own.
VOICES = [
    labelled(number, emotion, ("audio", sound(number % 7, seconds=0.6 + 0.1 * (number // 7))))
    for number, emotion in enumerate(EMOTIONS * 2)
]
MIXED = [
    labelled(0, "sad", ("audio", sound(1))),
    labelled(1, "happy", ("video", frames(2))),
    labelled(2, "angry", ("audio", sound(3, seconds=5.0))),  # three windows
    labelled(3, "angry", ("video", frames(4)), ("audio", sound(5, seconds=0.5))),
]


def dataset_of(model, processor, items, folder=None, **kwargs):
    """The clips as a dataset, with a cache in `folder`."""
    cache = FeatureCache(model.model.extractor, processor, folder, disturbance=Disturbance())
    return EmotionDataset(items, cache, model.config.emotion_labels, **kwargs)


def batch_of(model, processor, items):
    """All clips as one batch."""
    rows = dataset_of(model, processor, items)
    return EmotionCollator(model.config)([rows[index] for index in range(len(rows))])
