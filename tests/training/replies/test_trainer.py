"""Response tuning: the loss is the model's own over the reply's tokens, and resuming is going on."""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import TrainingArguments

from helpers import encode, wake
from pairs import assistant_says, mixed_pairs, pair, replies
from trainers import SETTINGS
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.adapter_scope import take_outside_off
from transformers_empathav.training.collator import ConversationCollator
from transformers_empathav.training.lora import language_model_lora
from transformers_empathav.training.replies.trainer import ResponseTrainer
from transformers_empathav.training.sampler import row_length


def trainer_of(model, processor, rows, folder, lora=None, full=False, **options):
    torch.manual_seed(0)
    return ResponseTrainer(
        model=model if full else get_peft_model(model, lora or language_model_lora(4)),
        args=TrainingArguments(str(folder / "out"), **{**SETTINGS, "per_device_train_batch_size": 4, **options}),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=ConversationCollator(processor),
    )


def varied():
    rows = mixed_pairs()
    for index, row in enumerate(rows):
        row["chosen"] = assistant_says("yes " * (2 * index + 1))
    return replies(rows)


@pytest.mark.parametrize("full", [False, True])
def test_the_loss_is_that_of_the_model_over_all_tokens_of_replies(model, processor, tmp_path, full):
    """For an adapter, and for a model that learns as a whole."""
    rows = varied()
    trainer = trainer_of(model, processor, rows, tmp_path, full=full)
    losses = []
    for row in rows:
        inputs = encode(processor, row["prompt"])
        words = f"{row['completion'][0]['content'][0]['text']}<|im_end|>"
        reply = processor.tokenizer(words, return_tensors="pt", add_special_tokens=False)["input_ids"]
        start = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], reply], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits = trainer.model(**inputs).logits[0, start - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, reply[0], reduction="none"))
    wanted = torch.cat(losses).mean()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    assert torch.allclose(loss, wanted, atol=1e-5)
    loss.backward()
    found = {name: tensor.grad for name, tensor in trainer.model.named_parameters() if tensor.grad is not None}
    assert found and full == any("compressor" in name for name in found)
    assert full or all("lora_" in name for name in found)
    trainer.model.zero_grad()
    wanted.backward()
    for name, gradient in found.items():
        assert torch.allclose(gradient, trainer.model.get_parameter(name).grad, rtol=1e-3, atol=1e-5), name


def test_accumulated_batches_are_one_batch(processor, tmp_path):
    weights = []
    for rows_at_once, times in ((4, 1), (1, 4)):
        options = {"per_device_train_batch_size": rows_at_once, "gradient_accumulation_steps": times}
        trainer = trainer_of(tiny_model(processor), processor, varied(), tmp_path, max_steps=2, **options)
        trainer.train()
        weights.append({name: tensor for name, tensor in trainer.model.named_parameters() if "lora_" in name})
    assert all(torch.allclose(tensor, weights[1][name], atol=1e-6) for name, tensor in weights[0].items())


def test_the_loss_falls_and_is_evaluated(model, processor, tmp_path):
    trainer = trainer_of(model, processor, varied(), tmp_path, max_steps=8, learning_rate=1e-2)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before - 0.1


def test_a_training_that_diverges_ends_with_an_error(model, processor, tmp_path):
    trainer = trainer_of(model, processor, varied(), tmp_path, max_steps=2)
    with torch.no_grad():
        next(tensor for name, tensor in trainer.model.named_parameters() if "lora_B" in name).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1, rows .*lora_B.* is not finite any more"):
        trainer.train()


def test_a_resumed_run_is_the_uninterrupted_one(processor, tmp_path):
    options = {"per_device_train_batch_size": 2, "max_steps": 5, "save_strategy": "steps", "save_steps": 3}
    found = []
    for resume in (None, str(tmp_path / "out" / "checkpoint-3")):
        trainer = trainer_of(tiny_model(processor), processor, varied(), tmp_path, **options)
        trainer.train(resume_from_checkpoint=resume)
        found.append({name: tensor for name, tensor in trainer.model.named_parameters() if "lora_" in name})
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_a_stream_is_learned_from(model, processor, tmp_path):
    rows = [{**row, "prompt": [{"role": "user", "content": row["id"]}]} for row in varied()]
    stream = ConversationCollator(processor).usable(Dataset.from_list(rows).to_iterable_dataset())
    trainer = trainer_of(model, processor, stream, tmp_path, max_steps=3, per_device_train_batch_size=2)
    trainer.train()
    assert trainer.state.global_step == 3


def test_batches_are_of_about_equal_length(processor, tmp_path):
    rows = [pair(f"{index}", chosen=assistant_says("x" * (index * 37 % 101 + 1))) for index in range(64)]
    trainer = trainer_of(tiny_model(processor), processor, replies(rows), tmp_path)
    order = list(trainer._get_train_sampler())
    lengths = [row_length(row) for row in trainer.train_dataset]

    def spread(order):
        """Letters between the shortest and the longest row of a batch, on average."""
        batches = [[lengths[index] for index in order[start : start + 4]] for start in range(0, 64, 4)]
        return sum(max(batch) - min(batch) for batch in batches) / len(batches)

    assert sorted(order) == list(range(64)) and spread(order) < 0.4 * spread(range(64))
    assert order == list(trainer._get_train_sampler())


@pytest.mark.parametrize("target", [["q_proj", "v_proj"], "all-linear"])
def test_an_ordinary_adapter_is_taken_off_encoders_extractor_and_compressor(
    model, processor, tmp_path, caplog, target
):
    lora = LoraConfig(r=4, target_modules=target, task_type="CAUSAL_LM")
    trainer = trainer_of(model, processor, varied(), tmp_path, lora, max_steps=3, learning_rate=1e-2)
    assert "taken off" in caplog.text and "goes on the language model alone" in caplog.text
    trainer.train()
    adapted = {name for name, _ in trainer.model.named_parameters() if "lora_" in name}
    assert adapted and all("model.language_model.layers" in name for name in adapted)
    trainer.save_model(tmp_path / "saved")
    inputs = encode(processor, varied()[0]["prompt"])
    with torch.no_grad():
        wanted = trainer.model.eval()(**inputs).logits
        again = PeftModel.from_pretrained(wake(tiny_model(processor)), tmp_path / "saved")
        assert torch.allclose(again.eval()(**inputs).logits, wanted, atol=1e-6)
    assert again.state_dict().keys() == trainer.model.state_dict().keys()


def test_a_trained_adapter_stays_where_it_is(model, caplog):
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    names = list(adapted.state_dict())
    take_outside_off(adapted)
    assert "they stay" in caplog.text and list(adapted.state_dict()) == names


def test_a_modality_that_does_not_arrive_ends_the_first_step(model, processor, tmp_path):
    trainer = trainer_of(model, processor, varied(), tmp_path, max_steps=1)
    collator = trainer.data_collator
    trainer.data_collator = lambda rows: {
        name: tensor for name, tensor in collator(rows).items() if name != "pixel_values_videos"
    }
    with pytest.raises(RuntimeError, match="1 windows with frames and 0 reached the model"):
        trainer.train()
