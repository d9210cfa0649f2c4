"""What the extractor is trained for: its scores are the model's, with and without the language model."""

import torch

from helpers import encode, relative_error, short_labels, sound, wake
from labelled import EMOTIONS, MIXED, batch_of, dataset_of, labelled
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.extractor.dataset import fit_features
from transformers_empathav.training.extractor.objective import EmotionTraining


def media_of(batch):
    """Features and masks alone, in the model's own type."""
    return {name: tensor.float() for name, tensor in batch.items() if name.endswith(("_features", "_mask"))}


def test_scores_are_those_of_the_model(model, processor):
    """With the prompt's beginning computed once, rows of several clips and missing streams beside each other."""
    training = EmotionTraining(model).eval()
    batch = batch_of(model, processor, MIXED)
    with torch.no_grad():
        scores = training(**batch).softmax(dim=-1)
    expected = model.predict_emotion(**encode(processor, *(one["messages"] for one in MIXED)))
    assert relative_error(scores, expected) < 1e-3  # features are rounded to half
    vectors = model.get_av_features(**media_of(batch))
    ids = [[model.config.av_token_id] * (2 * count) for count in batch["clips"].tolist()]
    for row, count in enumerate(batch["clips"].tolist()):
        first = int(batch["clips"][:row].sum())
        direct = model.score_emotions(torch.tensor([ids[row]]), av_embeds=vectors[first : first + count])
        with torch.no_grad():
            assert relative_error(training(**batch)[row : row + 1], direct) < 1e-5


def test_gradients_are_those_without_the_kept_prefix(model, processor):
    training, batch = EmotionTraining(model).eval(), batch_of(model, processor, MIXED[:1])
    weight = model.model.extractor.queries.weight
    (kept,) = torch.autograd.grad(training(**batch)[0, 0], weight)
    vectors = model.get_av_features(**media_of(batch))
    scores = model.score_emotions(torch.tensor([[model.config.av_token_id] * 2]), av_embeds=vectors)
    (direct,) = torch.autograd.grad(scores[0, 0], weight)
    assert relative_error(kept, direct) < 1e-4


def test_before_the_language_model_is_asked_vectors_lean_towards_the_words(model, processor):
    training, batch = EmotionTraining(model).eval(), batch_of(model, processor, MIXED)
    words = model.get_input_embeddings()(torch.tensor(model.config.emotion_label_ids[5])).mean(dim=0)
    vectors = words.expand(int(batch["clips"].sum()), model.config.num_query_tokens, -1)
    assert training.word_scores(vectors, batch["clips"]).argmax(dim=1).tolist() == [5] * len(MIXED)


def test_an_exchanged_voice_takes_its_emotion_along(processor):
    """Two voices are learned from features; then messages whose voices are exchanged are read from their sound."""
    glad, low = labelled(0, "happy", ("audio", sound(1))), labelled(1, "sad", ("audio", sound(2)))
    model = short_labels(wake(tiny_model(processor), 5.0))
    training, batch = EmotionTraining(model), batch_of(model, processor, [glad, low])
    fit_features(model, dataset_of(model, processor, [glad, low]))
    optimizer = torch.optim.Adam([weight for weight in training.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(training(**batch), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    turns = [
        [{**words["messages"][0], "content": voice["messages"][0]["content"]}]
        for words, voice in ((glad, glad), (low, low), (glad, low), (low, glad))
    ]
    found = model.predict_emotion(**encode(processor, *turns)).argmax(dim=1).tolist()
    assert [EMOTIONS[index] for index in found] == ["happy", "sad", "sad", "happy"]
