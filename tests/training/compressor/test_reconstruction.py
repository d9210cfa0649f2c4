"""Training of the compressor: what is taught, what the table's columns mean, and that resuming is going on."""

import random

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from helpers import relative_error
from trainers import SETTINGS
from transformers_empathav.checkpoint.prompts import memory_frame
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import (
    Reconstruction,
    reconstruction_table,
    summary,
    text_losses,
    without_memory,
)
from transformers_empathav.training.compressor.trainer import CompressorTrainer
from transformers_empathav.training.sampler import LengthSampler


def message(role, content):
    return {"role": role, "content": content}


WINDOWS = [
    [message("user", "I lost my job")],
    [message("user", "hm"), message("assistant", "what is it?"), message("user", "nothing")],
    [message("assistant", "hello")],
    [message("user", "we won"), message("assistant", "great!")],
]


@pytest.fixture
def batch(processor):
    return ReconstructionCollator(processor)(WINDOWS)


def test_only_the_words_are_taught(processor, batch):
    taught = [processor.tokenizer.decode(row[row != -100]) for row in batch["labels"]]
    assert taught == [" I lost my job\n", " hm\n what is it?\n nothing\n", " hello\n", " we won\n great!\n"]
    assert torch.equal(batch["input_ids"][batch["labels"] != -100], batch["labels"][batch["labels"] != -100])


def test_a_long_message_is_cut_alike_for_reader_and_writer(processor):
    cut = ReconstructionCollator(processor, max_tokens=5)([[message("user", "abcdefghij")]])
    assert processor.tokenizer.decode(cut["labels"][cut["labels"] != -100]) == " abcde\n"
    assert "abcde" in processor.tokenizer.decode(cut["history_input_ids"][0])
    assert "abcdef" not in processor.tokenizer.decode(cut["history_input_ids"][0])


def test_emotions_are_read_and_not_taught(processor):
    window = [[{"role": "user", "content": "no", "emotion": "sad"}, message("assistant", "oh")]]
    batch = ReconstructionCollator(processor, emotions=1.0)(window)
    assert "user (sad): no" in processor.tokenizer.decode(batch["history_input_ids"][0])
    assert processor.tokenizer.decode(batch["labels"][batch["labels"] != -100]) == " no\n oh\n"
    silent = ReconstructionCollator(processor)(window)
    assert "sad" not in processor.tokenizer.decode(silent["history_input_ids"][0])
    random.seed(0)
    some = [
        "sad" in processor.tokenizer.decode(row)
        for row in ReconstructionCollator(processor, emotions=0.5)(window * 40)["history_input_ids"]
    ]
    assert 10 < sum(some) < 30


def test_the_newest_messages_can_stand_verbatim_in_place_of_the_memory(processor):
    texts = []
    for verbatim in (0, 1, 9):
        batch = ReconstructionCollator(processor, verbatim=verbatim)(WINDOWS[1:2])
        ids = batch["input_ids"][0][batch["labels"][0].eq(-100).cumprod(0).bool()]  # what precedes the taught text
        assert processor.memory_token_id not in ids and "history_input_ids" not in batch
        texts.append(processor.tokenizer.decode(ids))
    assert [text.count("nothing") for text in texts] == [0, 1, 1]
    assert [text.count("what is it?") for text in texts] == [0, 0, 1]


def test_losses_are_those_of_the_model_with_labels(model, batch):
    losses, _, rows = text_losses(model, batch)
    assert relative_error(losses.mean(), model(**batch).loss) < 1e-5
    assert rows.bincount().tolist() == (batch["labels"] != -100).sum(dim=1).tolist()


def test_the_own_column_is_the_loss_and_the_other_column_is_not(model, processor, batch):
    table = reconstruction_table(model, DataLoader(WINDOWS, 4, collate_fn=ReconstructionCollator(processor)), "cpu")
    with torch.no_grad():
        losses, _, _ = text_losses(model, batch)
    assert abs(table["own"].sum() - float(losses.double().sum())) < 1e-3
    assert abs(table["own"].sum() - table["other"].sum()) > 1e-3
    result = summary(table)
    assert result["worth"] == pytest.approx(min(result["none"], result["other"]) - result["own"])


def test_no_memory_means_the_prompt_without_placeholders(model, processor, batch):
    bare = without_memory(batch, model.config.memory_token_id)
    frame_before, frame_after = memory_frame(processor)
    row = bare["input_ids"][0][bare["attention_mask"][0].bool()]
    words = processor.tokenizer("user: I lost my job\n", add_special_tokens=False)["input_ids"]
    assert row.tolist() == frame_before + frame_after + words


def test_windows_may_stand_in_other_frames_which_teach_the_same_words(processor):
    window = [{"role": "user", "content": "I lost my job"}]
    usual = ReconstructionCollator(processor)([window])
    collate = ReconstructionCollator(processor, frames=1.0)
    others = [collate([window]) for _ in range(8)]
    assert len({batch["input_ids"].shape[1] for batch in others}) > 1
    for batch in others:
        assert batch["input_ids"].shape != usual["input_ids"].shape or not torch.equal(
            batch["input_ids"], usual["input_ids"]
        )
        taught = [one["labels"][one["labels"] != -100].tolist() for one in (batch, usual)]
        assert taught[0] == taught[1]
        assert torch.equal(batch["history_input_ids"], usual["history_input_ids"])


def arguments(folder, **kwargs):
    options = {"max_steps": 4, "per_device_train_batch_size": 2, "learning_rate": 1e-2}
    options |= {"save_strategy": "steps", "save_steps": 2}
    return TrainingArguments(output_dir=str(folder), **{**SETTINGS, **options, **kwargs})


def train(processor, folder, resume=None, **kwargs):
    model = tiny_model(processor)
    trainer = CompressorTrainer(
        model=Reconstruction(model),
        args=arguments(folder, **kwargs),
        train_dataset=WINDOWS,
        eval_dataset=WINDOWS,
        data_collator=ReconstructionCollator(processor),
    )
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


def test_only_the_compressor_changes_and_the_loss_falls(processor, tmp_path):
    model, trainer = train(processor, tmp_path, max_steps=30, save_strategy="no")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-5:]) < sum(losses[:5])
    fresh = tiny_model(processor)
    for (name, one), other in zip(model.named_parameters(), fresh.parameters()):
        assert torch.equal(one, other) == (".compressor." not in name) or "compressor" in name, name
    assert not torch.equal(model.model.compressor.readouts.weight, fresh.model.compressor.readouts.weight)


def test_resuming_is_going_on(processor, tmp_path):
    whole, _ = train(processor, tmp_path / "whole")
    again, trainer = train(processor, tmp_path / "whole", resume=str(tmp_path / "whole" / "checkpoint-2"))
    assert trainer.state.global_step == 4
    for one, other in zip(again.model.compressor.parameters(), whole.model.compressor.parameters()):
        assert relative_error(one, other) < 1e-6 if other.abs().max() > 0 else torch.equal(one, other)


def test_a_training_that_diverges_ends_with_an_error(processor, tmp_path):
    model = tiny_model(processor)
    lesson = Reconstruction(model)
    with torch.no_grad():
        model.model.compressor.readouts.weight.fill_(torch.nan)
    trainer = CompressorTrainer(
        model=lesson,
        args=arguments(tmp_path, save_strategy="no"),
        train_dataset=WINDOWS,
        data_collator=ReconstructionCollator(processor),
    )
    with pytest.raises(FloatingPointError, match="loss is nan at step 1, rows .*readouts.weight is not finite"):
        trainer.train()


def test_the_order_depends_on_seed_and_epoch_alone():
    sampler, again = (LengthSampler(2, list(range(20)), seed=0) for _ in range(2))
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    again.set_epoch(1)
    assert sorted(first) == list(range(20)) and first != second == list(again)


def test_accumulated_batches_equal_one_large_batch(processor, tmp_path):
    options = {"max_steps": 2, "save_strategy": "no", "max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 0.1}
    large, _ = train(processor, tmp_path, per_device_train_batch_size=4, **options)
    small, _ = train(processor, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=2, **options)
    for one, other in zip(small.model.compressor.parameters(), large.model.compressor.parameters()):
        assert relative_error(one, other) < 1e-4 if other.abs().max() > 0 else torch.equal(one, other)
