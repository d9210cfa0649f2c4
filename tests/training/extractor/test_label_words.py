"""Words for the language model: it is told what it is meant to say, it stays as it is, and a resumed run has them."""

import pytest
import torch
from transformers import TrainingArguments

from helpers import short_labels, wake
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.extractor import label_words
from transformers_empathav.training.extractor.label_words import (
    find_words,
    learn_words,
    load_words,
    save_words,
    vectors_for,
)
from transformers_empathav.training.extractor.objective import EmotionTraining


@pytest.fixture
def training(processor):
    training = EmotionTraining(short_labels(wake(tiny_model(processor), 5.0))).eval()
    training.start_at_labels()
    return training


def state(training):
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}


def test_the_language_model_learns_to_say_what_vectors_were_written_for(training):
    before = state(training)
    divergences = learn_words(training, 120, learning_rate=0.1)
    assert sum(divergences[-10:]) < 0.8 * sum(divergences[:10])
    changed = [name for name, tensor in state(training).items() if not torch.equal(tensor, before[name])]
    assert changed == ["model.extractor.embedding_projection.anchor"]
    odds = 4.0 * torch.eye(7)
    with torch.no_grad():
        vectors = vectors_for(training, training.extractor.embedding_projection.anchor, training.words, odds)
        said, leaning = (
            scores(vectors, torch.ones(7, dtype=torch.long))
            for scores in (training.label_scores, training.word_scores)
        )
    assert leaning.argmax(dim=1).tolist() == list(range(7))
    own = torch.nn.functional.kl_div(said.log_softmax(1), odds.softmax(1), reduction="batchmean")
    others = torch.nn.functional.kl_div(said.log_softmax(1), odds.roll(1, 0).softmax(1), reduction="batchmean")
    assert own < 0.8 * others


def test_the_same_seed_gives_the_same_words_and_another_seed_others(training):
    first, words = learn_words(training, 3), training.words
    training.words = training.label_embeddings()
    training.start_at_labels()
    again, same = learn_words(training, 3), training.words
    training.words = training.label_embeddings()
    training.start_at_labels()
    assert first == again and torch.equal(words, same)
    assert learn_words(training, 3, seed=1) != first


def test_kept_words_are_those_that_were_learned(training, processor, tmp_path):
    learn_words(training, 2)
    save_words(training, tmp_path / "words.safetensors")
    other = EmotionTraining(short_labels(wake(tiny_model(processor), 5.0)))
    load_words(other, tmp_path / "words.safetensors")
    assert torch.equal(other.words, training.words)
    assert torch.equal(other.extractor.embedding_projection.anchor, training.extractor.embedding_projection.anchor)


def test_words_are_learned_once_and_a_resumed_run_takes_them(training, processor, tmp_path, monkeypatch):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    find_words(training, 0, arguments)
    assert not (tmp_path / "words.safetensors").exists()
    find_words(training, 2, arguments)
    learned = training.words.clone()
    assert not torch.equal(learned, training.label_embeddings())
    monkeypatch.setattr(label_words, "learn_words", None)
    arguments.resume_from_checkpoint = "true"
    other = EmotionTraining(short_labels(wake(tiny_model(processor), 5.0)))
    find_words(other, 2, arguments)
    assert torch.equal(other.words, learned)


def test_vectors_are_as_long_as_the_extractors(training):
    anchor = training.extractor.embedding_projection.anchor
    vectors = vectors_for(training, anchor, training.words, torch.randn(5, 7))
    size = vectors.square().mean(dim=-1).sqrt()
    assert vectors.shape == (5, training.model.config.num_query_tokens, training.words.shape[1])
    assert torch.allclose(size, training.extractor.embedding_projection.scale.expand_as(size), rtol=1e-4)
