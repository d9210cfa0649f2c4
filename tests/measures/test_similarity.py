"""Measures by models: the formulas by hand, and tiny classifiers and encoders read from a directory."""

import numpy as np
import pytest
import torch

from texts import write_encoder
from transformers_empathav.measures.bertscore import BertScore, greedy_match
from transformers_empathav.measures.epitome import Epitome
from transformers_empathav.measures.similarity import embedding_similarity, emotion_metrics_of_replies


def test_embedding_similarity_is_the_mean_cosine():
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0]}
    found = embedding_similarity(["a", "c"], ["b", "a"], lambda texts: np.array([vectors[text] for text in texts]))
    assert found.figure() == pytest.approx((0 + 2**-0.5) / 2)


def test_emotions_of_replies_by_hand():
    table = {"x": [0.8, 0.2], "y": [0.1, 0.9], "z": [0.6, 0.4]}
    found = emotion_metrics_of_replies(
        ["x", "y", "z"], ["z", "x", "z"], [0, 0, None], lambda texts: np.array([table[text] for text in texts])
    )
    xz = (0.8 * 0.6 + 0.2 * 0.4) / (0.68 * 0.52) ** 0.5
    yx = (0.1 * 0.8 + 0.9 * 0.2) / (0.82 * 0.68) ** 0.5
    assert found["emotional_similarity"].figure() == pytest.approx((xz + yx + 1) / 3)
    assert found["emotion_agreement"].figure() == pytest.approx(2 / 3)
    constant = np.mean([table[text] for text in "zxz"], axis=0)
    alike = [np.dot(table[text], constant) / np.linalg.norm(table[text]) / np.linalg.norm(constant) for text in "xyz"]
    assert found["emotional_similarity_constant"].figure() == pytest.approx(np.mean(alike))
    assert found["emotion_agreement_constant"].figure() == pytest.approx(2 / 3)
    assert found["emotion_accuracy"].figure() == pytest.approx(1 / 2)  # of the two that are labelled


def test_without_labels_there_is_no_accuracy():
    found = emotion_metrics_of_replies(["x"], ["x"], [None], lambda texts: np.ones((len(texts), 2)))
    assert "emotion_accuracy" not in found


def test_greedy_matching_by_hand():
    candidate = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    reference = torch.tensor([[0.0, 2.0]])
    half = 2**-0.5
    precision, recall, f1 = greedy_match(candidate, reference)
    assert (precision, recall) == (pytest.approx((0 + half) / 2), pytest.approx(half))
    assert f1 == pytest.approx(2 * (half / 2) * half / (half / 2 + half))
    assert greedy_match(candidate, reference[:0]) == (0, 0, 0)


def test_bertscore_of_a_text_with_itself_is_one_and_batches_change_nothing(tmp_path):
    score = BertScore(write_encoder(tmp_path), batch_size=2)
    said, gold = ["I am sad", "no", ""], ["I am sad", "yes, of course", "well"]
    found = score(said, gold)
    assert found["bertscore_f1"].statistics[0, 0] == pytest.approx(1)
    assert found["bertscore_f1"].statistics[2, 0] == 0
    one = BertScore(tmp_path, batch_size=1)(said, gold)
    for name, scores in found.items():
        assert scores.statistics == pytest.approx(one[name].statistics, abs=1e-5)


def test_bertscore_leaves_special_tokens_out(tmp_path):
    score = BertScore(write_encoder(tmp_path))
    assert len(score.token_vectors(["ab"])[0]) == 2


def test_diff_epitome_is_the_distance_of_expected_levels(tmp_path):
    write_encoder(tmp_path, ["none", "weak", "strong"])
    epitome = Epitome({"explorations": str(tmp_path)})
    levels = [epitome.levels("explorations", ["hi"], [text])[0] for text in ("why?", "oh")]
    assert 0 < levels[0] < 2
    assert epitome(["hi"], ["why?"], ["oh"])["diff_explorations"].figure() == pytest.approx(abs(levels[0] - levels[1]))
    assert epitome(["hi"], ["oh"], ["oh"])["diff_explorations"].figure() == pytest.approx(0)


def test_a_classifier_of_other_classes_is_refused(tmp_path):
    write_encoder(tmp_path, ["no", "yes"])
    with pytest.raises(ValueError, match="three levels"):
        Epitome({"interpretations": str(tmp_path)})
