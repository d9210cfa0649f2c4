"""Training of the extractor: its scores are the model's, only it learns, resuming is going on, the voice counts."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainingArguments

from helpers import encode, frames, relative_error, short_labels, sound, user, wake
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.disturbance import Disturbance
from transformers_empathav.training.extractor.dataset import EmotionCollator, EmotionDataset, fit_features
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.extractor.trainer import EmotionTrainer
from transformers_empathav.training.feature_cache import FeatureCache


EMOTIONS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


def item(number, emotion, *parts):
    return {"id": str(number), "messages": [user(*parts, emotion=emotion)]}


# Every emotion has a chord of its own.
ITEMS = [
    item(number, emotion, ("audio", sound(number % 7, seconds=0.6 + 0.1 * (number // 7))))
    for number, emotion in enumerate(EMOTIONS * 2)
]


@pytest.fixture(scope="module", autouse=True)
def features(tmp_path_factory):
    """One cache for all tests of this file."""
    dataset.folder = tmp_path_factory.mktemp("features")


def dataset(model, processor, items=ITEMS, **kwargs):
    cache = FeatureCache(model.model.extractor, processor, dataset.folder, disturbance=Disturbance())
    return EmotionDataset(items, cache, model.config.emotion_labels, **kwargs)


def batch_of(model, processor, items):
    rows = dataset(model, processor, items)
    return EmotionCollator(model.config)([rows[index] for index in range(len(rows))])


MIXED = [
    item(0, "sad", ("audio", sound(1))),
    item(1, "happy", ("video", frames(2))),
    item(2, "angry", ("audio", sound(3, seconds=5.0))),  # three windows
    item(3, "angry", ("video", frames(4)), ("audio", sound(5, seconds=0.5))),
]


def test_scores_are_those_of_the_model(model, processor):
    """With the prompt's beginning computed once, rows of several clips and missing streams beside each other."""
    training = EmotionTraining(model).eval()
    batch = batch_of(model, processor, MIXED)
    with torch.no_grad():
        scores = training(**batch).softmax(dim=-1)
    expected = model.predict_emotion(**encode(processor, *(one["messages"] for one in MIXED)))
    assert relative_error(scores, expected) < 1e-3  # features are rounded to half
    vectors = model.get_av_features(**{name: batch[name].float() for name in batch if name not in ("clips", "labels")})
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
    vectors = model.get_av_features(**{name: batch[name].float() for name in batch if name not in ("clips", "labels")})
    scores = model.score_emotions(torch.tensor([[model.config.av_token_id] * 2]), av_embeds=vectors)
    (direct,) = torch.autograd.grad(scores[0, 0], weight)
    assert relative_error(kept, direct) < 1e-4


def arguments(folder, **kwargs):
    options = {"num_train_epochs": 4, "per_device_train_batch_size": 7, "learning_rate": 1e-2, "logging_steps": 1}
    options |= {"report_to": "none", "use_cpu": True, "remove_unused_columns": False, "disable_tqdm": True}
    return TrainingArguments(output_dir=str(folder), **{"save_strategy": "no", **options, **kwargs})


def train(processor, folder, resume=None, copies=0, dev=None, callbacks=(), warmup_epochs=0.0, **kwargs):
    model = short_labels(wake(tiny_model(processor), 10.0))
    rows = dataset(model, processor, copies=copies)
    trainer = EmotionTrainer(
        model=EmotionTraining(model, modality_dropout=0.3, time_masking=0.2),
        args=arguments(folder, **kwargs),
        train_dataset=rows,
        eval_dataset=dev and dataset(model, processor, dev),
        data_collator=EmotionCollator(model.config),
        callbacks=list(callbacks),
        warmup_epochs=warmup_epochs,
    )
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


def test_only_the_extractor_changes_and_its_encoders_do_not(processor, tmp_path):
    model, _ = train(processor, tmp_path, num_train_epochs=2, warmup_epochs=1.0)
    fresh = wake(tiny_model(processor), 10.0)
    for (name, one), other in zip(model.named_parameters(), fresh.parameters()):
        learns = ".extractor." in name and "_tower." not in name
        assert torch.equal(one, other) or learns, name
    assert not torch.equal(model.model.extractor.queries.weight, fresh.model.extractor.queries.weight)


def test_an_exchanged_voice_takes_its_emotion_along(processor):
    """Two voices are learned from features; then messages whose voices are exchanged are read from their sound."""
    glad, low = item(0, "happy", ("audio", sound(1))), item(1, "sad", ("audio", sound(2)))
    model = short_labels(wake(tiny_model(processor), 5.0))
    training, batch = EmotionTraining(model), batch_of(model, processor, [glad, low])
    fit_features(model, dataset(model, processor, [glad, low]))
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


def test_before_the_language_model_is_asked_vectors_lean_towards_the_words(model, processor):
    training, batch = EmotionTraining(model).eval(), batch_of(model, processor, MIXED)
    words = model.get_input_embeddings()(torch.tensor(model.config.emotion_label_ids[5])).mean(dim=0)
    vectors = words.expand(int(batch["clips"].sum()), model.config.num_query_tokens, -1)
    assert training.word_scores(vectors, batch["clips"]).argmax(dim=1).tolist() == [5] * len(MIXED)


def test_resuming_is_going_on(processor, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 3, "copies": 2, "warmup_epochs": 1.0, "num_train_epochs": 3}
    whole, _ = train(processor, tmp_path, **options)
    again, trainer = train(processor, tmp_path, resume=str(tmp_path / "checkpoint-3"), **options)
    assert trainer.state.global_step == 6
    for one, other in zip(again.model.extractor.parameters(), whole.model.extractor.parameters()):
        assert torch.equal(one, other) or relative_error(one, other) < 1e-6


def test_the_best_checkpoint_is_kept_and_training_stops_early(processor, tmp_path):
    model, trainer = train(
        processor,
        tmp_path,
        dev=ITEMS[:7],
        callbacks=[EarlyStoppingCallback(2)],
        num_train_epochs=30,
        learning_rate=0.2,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="uar",
        greater_is_better=True,
    )
    assert trainer.state.epoch < 30
    found = [entry["eval_uar"] for entry in trainer.state.log_history if "eval_uar" in entry]
    assert trainer.state.best_metric == max(found)
    best = load_file(f"{trainer.state.best_model_checkpoint}/extractor.safetensors")
    assert all(torch.equal(tensor, model.model.extractor.state_dict()[name]) for name, tensor in best.items())


def test_accumulated_batches_equal_one_large_batch(processor, tmp_path):
    options = {"max_steps": 2, "max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 0.1}
    trainers = []
    for size, steps in ((14, 1), (7, 2)):
        model = short_labels(tiny_model(processor))
        trainer = EmotionTrainer(
            model=EmotionTraining(model),
            args=arguments(tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=steps, **options),
            train_dataset=dataset(model, processor),
            data_collator=EmotionCollator(model.config),
        )
        trainer.train()
        trainers.append(model)
    for one, other in zip(*(model.model.extractor.parameters() for model in trainers)):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-8)


def test_features_are_centred_and_brought_to_unit_spread(model, processor):
    """After fitting, what the projection reads of the training clips has mean 0 and spread 1 in every channel."""
    rows, extractor = dataset(model, processor, MIXED), model.model.extractor
    fit_features(model, rows)
    with torch.no_grad():
        extractor.audio_mix.logits.copy_(torch.tensor([50.0, 0.0, 0.0]))  # one layer alone
        windows = [window for index in range(len(rows)) for window in rows[index]["windows"]]
        heard = [extractor.audio_mix(window.audio[None].float())[0] for window in windows if window.audio is not None]
    heard = torch.cat(heard)
    assert heard.mean(dim=0).abs().max() < 1e-2
    assert (heard.std(dim=0, correction=0) - 1).abs().max() < 1e-2


def test_one_stream_alone_and_none_at_all(model, processor):
    heard = dataset(model, processor, MIXED[3:], only="audio")[0]["windows"]
    assert all(window.video is None for window in heard) and any(window.audio is not None for window in heard)
    with pytest.raises(ValueError, match="None of these clips has the stream"):
        EmotionCollator(model.config)([dataset(model, processor, MIXED[:1], only="video")[0]])
