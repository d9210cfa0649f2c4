"""The first lesson: which vector is to name which word, its loss by hand, and that it is learned."""

import pytest
import torch

from helpers import relative_error
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.spelling import Spelling, spelling_targets


WINDOWS = [
    [{"role": "user", "content": "abcd"}],
    [{"role": "user", "content": "hm"}, {"role": "assistant", "content": "what is it?"}],
]


@pytest.fixture
def batch(processor):
    return ReconstructionCollator(processor)(WINDOWS)


def test_words_go_to_the_vectors_of_their_utterance_in_turn():
    labels = torch.tensor([[-100, 5, 6, 7, -100, 8], [-100, -100, 9, -100, -100, -100]])
    vectors, words, weights = spelling_targets(labels, torch.tensor([4, 2]), per_utterance=2, decay=0.5)
    assert words.tolist() == [5, 6, 7, 8, 9]
    assert vectors.tolist() == [0, 1, 0, 2, 4]
    assert weights.tolist() == [1.0, 1.0, 0.5, 1.0, 1.0]


def test_the_loss_by_hand(model, batch):
    losses = Spelling(model, decay=0.5)(**batch)
    vectors = model.compress(batch["history_input_ids"], batch["history_attention_mask"]).flat()
    log_probs = (vectors @ model.get_input_embeddings().weight.T).log_softmax(-1)
    first = batch["labels"][0][batch["labels"][0] != -100]  # " abcd\n", two vectors
    expected = [-(0.5 ** (index // 2)) * log_probs[index % 2, word] for index, word in enumerate(first)]
    assert relative_error(losses[: len(first)], torch.stack(expected)) < 1e-5


def test_an_opened_compressor_learns_it_without_the_language_model(model, batch, monkeypatch):
    monkeypatch.setattr(model.model.language_model, "forward", None)
    model.model.compressor.open()
    lesson = Spelling(model)
    optimizer = torch.optim.Adam(model.model.compressor.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = lesson(**batch).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert not any(parameter.requires_grad for parameter in model.model.language_model.parameters())
