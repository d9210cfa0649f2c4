"""Distances of replies: by hand, whatever the batch, and labels of other people's classifiers."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from texts import write_classifier, write_encoder
from transformers_empathav.emotion.sentence_embedder import SentenceEmbedder
from transformers_empathav.emotion.similarity import cosine, emotional_distance
from transformers_empathav.emotion.text_classifier import EmotionScorer
from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


TEXTS = ["I am so sorry.", "What?", "How wonderful for you, tell me all about it!", "no"]


def test_distances_by_hand():
    happy, sad, both = np.eye(7)[3], np.eye(7)[5], (np.eye(7)[3] + np.eye(7)[5]) / 2
    assert emotional_distance(happy, happy) == 0 and emotional_distance(happy, sad) == 1
    assert emotional_distance(both, sad) == pytest.approx(1 - 2**-0.5)
    assert cosine(np.array([[3.0, 4.0]]), np.array([1.0, 0.0])).tolist() == [0.6]


def test_scores_do_not_depend_on_the_batch(tmp_path):
    scorer = EmotionScorer(write_classifier(tmp_path), batch_size=3)
    together = scorer(TEXTS)
    assert np.allclose(together.sum(axis=1), 1) and together.shape == (4, 7)
    assert np.allclose(together, np.concatenate([scorer([text]) for text in TEXTS]), atol=1e-6)
    assert np.abs(together - together.mean(axis=0)).max() > 1e-3  # the texts matter
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = model(**scorer.tokenizer(TEXTS[0], return_tensors="pt")).logits.softmax(dim=-1)
    assert np.allclose(together[0], expected, atol=1e-6)


def test_other_names_and_other_orders(tmp_path):
    names = ["Surprise", "joy", "fear", "anger", "sadness", "neutral", "disgust"]
    ours = ["surprised", "happy", "fearful", "angry", "sad", "neutral", "disgust"]
    theirs = EmotionScorer(write_encoder(tmp_path / "theirs", names))(TEXTS)
    own = EmotionScorer(write_encoder(tmp_path / "ours", ours))(TEXTS)
    assert np.array_equal(theirs, own)
    more = write_encoder(tmp_path / "more", [*EMOTION_LABELS, "grief"], seed=1)
    with pytest.raises(ValueError, match="grief.*label_map"):
        EmotionScorer(more)
    mapped = EmotionScorer(more, label_map={"grief": "sad"})(TEXTS)
    assert np.allclose(mapped.sum(axis=1), 1)


def test_classifiers_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot say surprised"):
        EmotionScorer(write_encoder(tmp_path / "six", EMOTION_LABELS[:-1]))
    several = write_encoder(tmp_path / "several", EMOTION_LABELS, problem_type="multi_label_classification")
    with pytest.raises(ValueError, match="no distribution"):
        EmotionScorer(several)
    with pytest.raises(ValueError, match="lacks 2 weights"):  # an encoder without its head
        folder = write_encoder(tmp_path / "headless")
        config = AutoModel.from_pretrained(folder).config
        config.id2label = dict(enumerate(EMOTION_LABELS))
        config.save_pretrained(folder)
        EmotionScorer(folder)


def test_embeddings_are_means_over_tokens_of_unit_length(tmp_path):
    embed = SentenceEmbedder(write_encoder(tmp_path))
    found = embed(TEXTS)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(found, np.concatenate([embed([text]) for text in TEXTS]), atol=1e-6)
    with torch.no_grad():
        hidden = embed.model(**embed.tokenizer(TEXTS[1], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    assert np.allclose(found[1], hidden / hidden.norm(), atol=1e-6)
    assert embed([]).shape == (0, 16)
