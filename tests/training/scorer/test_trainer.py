"""Training of the text emotion classifier: weights of emotions in the loss, accumulated batches, divergence."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, TrainingArguments

from texts import letters, write_classifier
from trainers import SETTINGS
from transformers_empathav.training.scorer.trainer import ScorerTrainer


TEXTS = ["oh no", "great", "hm", "ha", "why me", "stop it now"]
LABELS = [5, 3, 4, 3, 5, 0]


def trainer_of(folder, weights=None, **options):
    model = AutoModelForSequenceClassification.from_pretrained(write_classifier(folder / "classifier"))
    encoded = letters()(TEXTS, padding=True)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], LABELS)
    ]
    defaults = {"train_sampling_strategy": "sequential", "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
    arguments = TrainingArguments(str(folder / "out"), **{**SETTINGS, **defaults, **options})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return ScorerTrainer(model=model, args=arguments, train_dataset=rows, class_weights=weights)


def test_each_text_counts_as_its_emotion_weighs(tmp_path):
    weights = torch.tensor([3.0, 0, 0, 0.5, 1, 2, 0])
    trainer = trainer_of(tmp_path, weights)
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(6)])
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    wanted = -sum(weights[label] * row.log_softmax(0)[label] for row, label in zip(logits, LABELS)) / 6
    assert float(trainer.compute_loss(trainer.model, dict(batch)).detach()) == pytest.approx(float(wanted.detach()))


def test_accumulated_batches_are_one_big_batch(tmp_path):
    found = []
    for size, times in ((6, 1), (2, 3)):
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": times, "max_steps": 1}
        trainer = trainer_of(tmp_path, torch.tensor([3.0, 1, 1, 0.5, 1, 2, 1]), **options)
        before = trainer.model.classifier.weight.detach().clone()
        trainer.train()
        found.append(trainer.model.classifier.weight.detach() - before)
    assert found[0].abs().max() > 1e-3 and torch.allclose(*found, atol=1e-6)


def test_a_training_that_diverges_ends_with_an_error(tmp_path):
    trainer = trainer_of(tmp_path, max_steps=2, max_grad_norm=1.0)
    with torch.no_grad():
        trainer.model.classifier.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1, rows .*classifier.weight is not finite"):
        trainer.train()
