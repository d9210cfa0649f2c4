"""Training of the extractor: only it learns, resuming is going on, the best checkpoint is kept."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainingArguments

from helpers import relative_error, short_labels, wake
from labelled import VOICES, dataset_of
from trainers import SETTINGS
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.extractor.dataset import EmotionCollator
from transformers_empathav.training.extractor.objective import EmotionTraining
from transformers_empathav.training.extractor.trainer import EmotionTrainer


@pytest.fixture(scope="module", autouse=True)
def features(tmp_path_factory):
    """One cache for all tests of this file."""
    dataset.folder = tmp_path_factory.mktemp("features")


def dataset(model, processor, items=VOICES, **kwargs):
    return dataset_of(model, processor, items, dataset.folder, **kwargs)


def arguments(folder, **kwargs):
    options = {"num_train_epochs": 4, "per_device_train_batch_size": 7, "learning_rate": 1e-2}
    return TrainingArguments(output_dir=str(folder), **{**SETTINGS, **options, **kwargs})


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


def test_matrices_alone_decay(processor, tmp_path):
    """Anchor, scale and shares of layers have no reason to be small."""
    _, trainer = train(processor, tmp_path, num_train_epochs=1)
    names = trainer.get_decay_parameter_names(trainer.model)
    kept = ("embedding_projection.anchor", "embedding_projection.scale", "audio_mix.logits", "bias")
    assert any("qformer" in name for name in names)
    assert not [name for name in names if name.endswith(kept)]


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
        dev=VOICES[:7],
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


@pytest.mark.parametrize("weights", [True, False])
def test_an_emotion_that_never_occurs_is_named_and_the_others_are_learned(model, processor, tmp_path, caplog, weights):
    trainer = EmotionTrainer(
        model=EmotionTraining(model),
        args=arguments(tmp_path),
        train_dataset=dataset(model, processor, VOICES[:6]),
        data_collator=EmotionCollator(model.config),
        class_weights=weights,
    )
    assert "No clip of the training side shows surprised" in caplog.text
    assert trainer.train().training_loss > 0 and trainer.scores(trainer.train_dataset).shape == (6, 7)
