"""What TRL promises of a DPOTrainer: models as a whole, adapters as everybody has them, streams, and plain errors."""

import pytest
import torch
from datasets import Dataset, IterableDataset
from peft import LoraConfig
from trl import DPOConfig

from pairs import pair
from preferences import LN2, by_hand, loss_of, trainer_of
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.trainer import EPOTrainer


# Models as a whole, encoders but for: those are frozen from the beginning


@pytest.mark.parametrize("given", [False, True])
def test_a_whole_model_learns_by_the_formula_with_and_without_a_reference(model, processor, rows, tmp_path, given):
    reference = tiny_model(processor, seed=3) if given else None
    options = {"full": True, "ref_model": reference, "max_steps": 1, "learning_rate": 0.01}
    trainer = trainer_of(model, processor, rows, tmp_path, **options)
    assert given or abs(loss_of(trainer, rows) - LN2) < 1e-6
    trainer.train()  # now the model is not its reference any more, and its memory vectors neither
    trainer.model.zero_grad()
    loss = loss_of(trainer, rows)
    loss.backward()
    found = {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}
    model.zero_grad()
    wanted = by_hand(trainer, processor, rows, reference=trainer.ref_model)
    wanted.backward()
    assert abs(float(loss.detach()) - float(wanted.detach())) < 1e-5 and abs(float(loss.detach()) - LN2) > 1e-3
    for part in ("extractor", "compressor", "language_model"):
        assert any(part in name for name in found)
    for name, gradient in found.items():
        assert torch.allclose(gradient, model.get_parameter(name).grad, rtol=1e-3, atol=1e-4), name
    kept = tiny_model(processor, seed=3).state_dict() if given else None
    assert not any(tensor.requires_grad for tensor in trainer.ref_model.parameters()) or given
    if given:
        assert all(torch.equal(tensor, kept[name]) for name, tensor in trainer.ref_model.state_dict().items())


def test_memory_of_trained_embeddings_has_gradients_and_the_reference_its_own(model, processor, rows, tmp_path):
    """The compressor is frozen, and reads embeddings that learn."""
    model.requires_grad_(False)
    model.model.language_model.requires_grad_(True)
    trainer = trainer_of(model, processor, rows[3:], tmp_path, full=True)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.1)
    loss = loss_of(trainer, rows[3:])
    loss.backward()
    found = model.get_input_embeddings().weight.grad
    model.zero_grad()
    wanted = by_hand(trainer, processor, rows[3:], reference=trainer.ref_model)
    wanted.backward()
    assert abs(float(loss.detach()) - float(wanted.detach())) < 1e-5
    assert torch.allclose(found, model.get_input_embeddings().weight.grad, rtol=1e-3, atol=1e-4)


def test_the_reference_of_a_whole_model_follows_it_where_asked(model, processor, rows, tmp_path):
    options = {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 1.0, "max_steps": 1}
    trainer = trainer_of(model, processor, rows, tmp_path, full=True, learning_rate=0.01, **options)
    trainer.train()
    for name, tensor in trainer.ref_model.named_parameters():
        assert torch.equal(tensor, model.get_parameter(name)), name
    assert abs(loss_of(trainer, rows) - LN2) < 1e-6


# Adapters as everybody configures them


@pytest.mark.parametrize("target", [["q_proj", "v_proj"], "all-linear", r".*\.(q_proj|v_proj)"])
def test_an_ordinary_adapter_stays_within_the_language_model(model, processor, rows, tmp_path, caplog, target):
    lora = LoraConfig(r=4, target_modules=target, exclude_modules=["v_proj"], task_type="CAUSAL_LM")
    trainer = trainer_of(model, processor, rows, tmp_path, lora, max_steps=2, learning_rate=1e-2)
    trainer.train()
    adapted = {name.split(".lora_")[0] for name, _ in trainer.model.named_parameters() if "lora_" in name}
    assert adapted and all("model.language_model.layers" in name for name in adapted)
    assert not any("v_proj" in name for name in adapted)  # what was excluded stays excluded
    assert "goes on the language model alone" in caplog.text and lora.exclude_modules == {"v_proj"}
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert abs(losses[0] - LN2) < 1e-6 and losses[1] < LN2


def test_a_pattern_that_names_the_extractor_means_it(model, processor, rows, tmp_path, caplog):
    lora = LoraConfig(r=4, target_modules=r"model\.extractor\.qformer\..*\.query", task_type="CAUSAL_LM")
    trainer = trainer_of(model, processor, rows, tmp_path, lora)
    adapted = [name for name, tensor in trainer.model.named_parameters() if "lora_" in name and tensor.requires_grad]
    assert adapted and all(".extractor.qformer." in name for name in adapted)
    assert "language model alone" not in caplog.text


# Rows


def test_a_row_of_a_stream_that_does_not_fit_is_skipped_and_counted(model, processor, rows, tmp_path, caplog):
    rows[1]["rejected"][0]["content"][0]["text"] = "ha " * 200
    stream = Dataset.from_list(rows).to_iterable_dataset()
    held_out = Dataset.from_list(rows[:2]).to_iterable_dataset()
    options = {"max_length": 300, "max_steps": 3, "eval_strategy": "steps", "eval_steps": 3}
    trainer = trainer_of(model, processor, stream, tmp_path, eval_rows=held_out, **options)
    assert isinstance(trainer.train_dataset, IterableDataset)
    trainer.train()
    assert trainer.state.global_step == 3
    assert "1 of 2 rows of the stream so far do not fit into max_length and are skipped, the last one b" in caplog.text
    assert [row["id"] for row in trainer.train_dataset] == ["a", "c", "d"]


def test_a_distance_that_is_no_number_is_the_fault_of_its_row(model, processor, rows, tmp_path):
    rows[2]["emotional_distance"] = float("nan")
    with pytest.raises(ValueError, match="Row c has nan under 'emotional_distance', where a finite number belongs"):
        trainer_of(model, processor, rows, tmp_path, emotion_margin=1.0)
    stream = Dataset.from_list(rows).to_iterable_dataset()
    trainer = trainer_of(model, processor, stream, tmp_path, emotion_margin=1.0, max_steps=2)
    with pytest.raises(ValueError, match="Row c has nan under 'emotional_distance'"):
        trainer.train()


def test_each_modality_is_watched_until_it_was_seen(model, processor, rows, tmp_path):
    """The first batch has words alone; the second loses its frames, the third its history."""

    class Forgetful(ConversationCollator):
        lost = ()

        def __call__(self, rows):
            return {name: tensor for name, tensor in super().__call__(rows).items() if name not in self.lost}

    collator = Forgetful(processor, PAIR, numbers=("emotional_distance",), ignored_columns=("weight",))
    trainer = trainer_of(model, processor, rows, tmp_path, collator=collator)
    loss_of(trainer, rows[:1])
    loss_of(trainer, rows[3:])
    assert trainer.modality_check.unseen == {0, 1}
    collator.lost = ("pixel_values_videos",)
    with pytest.raises(RuntimeError, match="1 windows with frames and 0 reached the model"):
        loss_of(trainer, rows[1:2])
    collator.lost = ()
    loss_of(trainer, rows[1:2])
    assert not trainer.modality_check.unseen
    collator.lost = ("pixel_values_videos",)
    loss_of(trainer, rows[1:2])  # nothing is watched any more


def test_order_and_its_seed_are_those_that_are_asked_for(model, processor, tmp_path):
    rows = [pair(f"{index}", weight=1.0, emotional_distance=0.5) for index in range(16)]

    def order(**options):
        trainer = trainer_of(tiny_model(processor), processor, rows, tmp_path, **options)
        return list(trainer._get_train_sampler())

    assert order(train_sampling_strategy="sequential") == list(range(16))
    assert order() == order(train_sampling_strategy="group_by_length") != order(data_seed=7)
    assert order(data_seed=7) == order(data_seed=7, seed=1)


@pytest.mark.parametrize(
    "empty", [Dataset.from_list([]), Dataset.from_list([pair("a")]).to_iterable_dataset().take(0)]
)
def test_empty_data_are_one_line(model, processor, rows, tmp_path, empty):
    with pytest.raises(ValueError, match="train_dataset has no rows"):
        trainer_of(model, processor, empty, tmp_path)
    with pytest.raises(ValueError, match="eval_dataset mine has no rows"):
        trainer_of(model, processor, rows, tmp_path, eval_rows={"mine": empty})


def test_a_length_that_nothing_fits_is_one_line(model, processor, rows, tmp_path):
    with pytest.raises(ValueError, match="4 of 4 rows do not fit into 40 positions.*None is left: raise max_length"):
        trainer_of(model, processor, rows, tmp_path, max_length=40)


def test_what_is_no_model_no_processor_and_no_config_is_one_line(model, processor, rows, tmp_path):
    data = {"train_dataset": Dataset.from_list(rows)}
    args = EPOConfig(str(tmp_path), use_cpu=True)
    for given, told in (
        ({"model": model, "args": args}, "processing_class is missing"),
        (
            {"model": model, "args": args, "processing_class": processor.tokenizer},
            "processing_class is a .*: give the EmpathAVProcessor",
        ),
        ({"model": "build/smollm2-135m", "args": args, "processing_class": processor}, "model is a str"),
        ({"model": model, "args": DPOConfig(str(tmp_path), use_cpu=True, bf16=False)}, "args is a DPOConfig"),
    ):
        with pytest.raises(TypeError, match=told) as error:
            EPOTrainer(**given, **data)
        assert "\n" not in str(error.value)
