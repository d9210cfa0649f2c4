"""EPO: the loss by hand, the reference, what learns, what is shared, and that nothing is lost on the way."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import Blip2QFormerConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference

from helpers import encode, wake
from pairs import pair
from preferences import LN2, by_hand, log_prob, loss_of, stir, trainer_of
from transformers_empathav.testing.tiny import tiny_config, tiny_model
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.scores import pair_scores, preference_summary
from transformers_empathav.training.epo.trainer import EPOTrainer
from transformers_empathav.training.lora import PROJECTIONS, language_model_lora


@pytest.mark.parametrize(
    "options, formula",
    [
        ({}, {}),
        ({"emotion_margin": 0.7}, {"margin": 0.7}),
        ({"weight_column": "weight"}, {"weights": [1.0, 0.5, 2.0, 0.0]}),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]}, {"sft": 0.3}),
        (
            {
                "emotion_margin": 0.7,
                "weight_column": "weight",
                "loss_type": ["sft", "sigmoid"],
                "loss_weights": [0.3, 1.0],
            },
            {"margin": 0.7, "weights": [1.0, 0.5, 2.0, 0.0], "sft": 0.3},
        ),
    ],
)
def test_the_loss_is_the_formula(model, processor, rows, tmp_path, options, formula):
    trainer = trainer_of(model, processor, rows, tmp_path, **options)
    stir(trainer.model)
    loss = loss_of(trainer, rows)
    assert abs(float(loss.detach()) - LN2) > 0.01
    loss.backward()
    found = {
        name: parameter.grad for name, parameter in trainer.model.named_parameters() if parameter.grad is not None
    }
    trainer.model.zero_grad()
    wanted = by_hand(trainer, processor, rows, **formula)
    assert abs(float(loss.detach()) - float(wanted.detach())) < 1e-5
    wanted.backward()
    for name, gradient in found.items():
        assert torch.allclose(gradient, trainer.model.get_parameter(name).grad, atol=1e-4), name


def test_the_loss_begins_at_ln_2_whatever_dropout_frozen_parts_have(processor, rows, tmp_path):
    qformer = Blip2QFormerConfig(**{**tiny_config(processor).qformer_config.to_dict(), "hidden_dropout_prob": 0.5})
    model = wake(tiny_model(processor, qformer_config=qformer))
    trainer = trainer_of(model, processor, rows, tmp_path, language_model_lora(4, dropout=0.5), max_steps=1)
    trainer.train()
    assert abs(trainer.state.log_history[0]["loss"] - LN2) < 1e-6


def test_a_trained_adapter_is_its_own_reference(model, processor, rows, tmp_path):
    adapted = get_peft_model(model, language_model_lora(4))
    stir(adapted)
    trainer = trainer_of(adapted, processor, rows, tmp_path, max_steps=2, learning_rate=1e-2)
    before = {name: tensor.clone() for name, tensor in adapted.named_parameters() if ".ref." in name}
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert abs(losses[0] - LN2) < 1e-6 and losses[1] < LN2 - 0.01
    assert before and all(torch.equal(adapted.get_parameter(name), tensor) for name, tensor in before.items())


@pytest.mark.parametrize("projections", [(), PROJECTIONS])
def test_the_adapter_learns_and_nothing_else_unless_it_is_named(model, processor, rows, tmp_path, projections):
    lora = language_model_lora(4, projections=projections)
    trainer = trainer_of(model, processor, rows, tmp_path, lora, max_steps=2, learning_rate=1e-2)
    before = {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}
    trainer.train()
    assert abs(trainer.state.log_history[0]["loss"] - LN2) < 1e-6
    changed = {name for name, tensor in trainer.model.named_parameters() if not torch.equal(tensor, before[name])}
    adapters = {name for name in before if "lora_" in name}
    saved = {name for name in before if "modules_to_save.default" in name}
    assert changed == adapters | saved and all("model.language_model.layers" in name for name in adapters)
    assert {name.split(".modules_to_save")[0].split("model.model.model.")[-1] for name in saved} == set(projections)


def test_trained_projections_have_the_gradient_of_the_formula(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path, language_model_lora(4, projections=PROJECTIONS))
    stir(trainer.model)
    with torch.no_grad():  # the reference keeps the projection as it was
        for name, parameter in trainer.model.named_parameters():
            if "modules_to_save.default.linear.weight" in name:
                parameter.mul_(1.5)
    loss_of(trainer, rows).backward()
    found = {
        name: tensor.grad for name, tensor in trainer.model.named_parameters() if "modules_to_save.default" in name
    }
    trainer.model.zero_grad()
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)
    by_hand(trainer, processor, rows).backward()
    assert found
    for name, gradient in found.items():
        assert torch.allclose(gradient, trainer.model.get_parameter(name).grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("projections, runs", [((), 1), (PROJECTIONS, 2)])
def test_chosen_rejected_and_reference_share_clips_and_memory(model, processor, rows, tmp_path, projections, runs):
    trainer = trainer_of(model, processor, rows, tmp_path, language_model_lora(4, projections=projections))
    calls = {"extractor": [], "compressor": []}
    model.model.extractor.register_forward_pre_hook(
        lambda module, args, media: calls["extractor"].append(media), with_kwargs=True
    )
    model.model.compressor.register_forward_pre_hook(lambda module, args: calls["compressor"].append(1))
    loss_of(trainer, rows)
    assert len(calls["extractor"]) == len(calls["compressor"]) == runs
    # The voice that the extractor hears is that of the files, once.
    media = calls["extractor"][0]
    wanted = encode(processor, *(row["prompt"] for row in rows))
    assert torch.equal(media["input_features"], wanted["input_features"]) and len(wanted["input_features"]) == 2
    assert torch.equal(media["pixel_values_videos"], wanted["pixel_values_videos"])


def test_the_voice_moves_the_loss(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path)
    stir(trainer.model)
    batch = trainer.data_collator(rows)
    loss = trainer.compute_loss(trainer.model, batch)
    changed = {**batch, "input_features": batch["input_features"].flip(1)}
    assert abs(loss - trainer.compute_loss(trainer.model, changed)) > 1e-4


class Forgetful(ConversationCollator):
    """Loses sound or history between the rows and the batch."""

    lost = ()

    def __call__(self, rows):
        return {name: tensor for name, tensor in super().__call__(rows).items() if name not in self.lost}


@pytest.mark.parametrize(
    "lost, told",
    [
        (("input_features", "input_features_mask"), "2 windows with sound and 0 reached the model"),
        (("pixel_values_videos",), "1 windows with frames and 0 reached"),
    ],
)
def test_a_lost_modality_ends_the_first_step(model, processor, rows, tmp_path, lost, told):
    collator = Forgetful(processor, PAIR, numbers=("emotional_distance",), ignored_columns=("weight",))
    collator.lost = lost
    trainer = trainer_of(model, processor, rows, tmp_path, collator=collator, max_steps=1)
    with pytest.raises(RuntimeError, match=told):
        trainer.train()
    unchecked = trainer_of(
        tiny_model(processor), processor, rows, tmp_path, collator=collator, max_steps=1, check_modalities=False
    )
    unchecked.train()


def test_a_wrapper_that_drops_vectors_is_found(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path)
    forward, place = trainer.model.forward, model.config.av_token_id

    def deaf(input_ids, av_embeds, **given):
        return forward(input_ids=input_ids.masked_fill(input_ids == place, 5), **given)

    trainer.model.forward = deaf
    with pytest.raises(RuntimeError, match="did not reach the language model"):
        loss_of(trainer, rows[1:2])


def test_the_collator_of_the_library_is_refused(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path, collator=DataCollatorForPreference(0))
    batch = {"input_ids": torch.ones(2, 3, dtype=torch.long)}
    with pytest.raises(ValueError, match="does not say what its rows hold"):
        trainer.compute_loss(trainer.model, batch)


@pytest.mark.parametrize(
    "change, options, told",
    [
        ({"audio": "voice.wav"}, {}, "'audio' would never reach the model"),
        ({"mood": 1}, {}, "Nothing reads the column 'mood'"),
        ({}, {"weight_column": "importance"}, "'importance' is missing"),
        ({"emotional_distance": None}, {"emotion_margin": 1.0}, "Row a has None under 'emotional_distance'"),
    ],
)
def test_a_column_that_would_be_ignored_or_is_missing_is_an_error(model, processor, tmp_path, change, options, told):
    rows = [pair(name, weight=1.0, emotional_distance=0.5) | change for name in "ab"]
    with pytest.raises(ValueError, match=told):
        trainer = trainer_of(model, processor, rows, tmp_path, **options)
        trainer.data_collator(rows)


def test_what_is_logged(model, processor, rows, tmp_path):
    rows = [{**row, "kind": "random"} for row in rows]
    options = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "ignored_columns": ["weight", "kind"]}
    held_out = {"random": Dataset.from_list(rows[:2]), "ours": Dataset.from_list(rows[2:])}
    trainer = trainer_of(model, processor, rows, tmp_path, eval_rows=held_out, **options)
    trainer.train()
    logged = {name: value for line in trainer.state.log_history for name, value in line.items()}
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert name in logged and f"eval_random_{name}" in logged and f"eval_ours_{name}" in logged
    assert logged["emotional_distance"] == pytest.approx(0.425)
    assert logged["eval_random_emotional_distance"] == pytest.approx(0.35)
    assert (logged["lengths/chosen"], logged["lengths/rejected"]) == (18, 6)
    trainer.eval_dataset = held_out["random"]  # one set has no name
    assert "eval_rewards/margins" not in logged
    trainer.evaluate()
    assert "eval_rewards/margins" in trainer.state.log_history[-1]


def test_a_set_of_pairs_that_the_trainer_was_not_given_is_evaluated_as_it_is(model, processor, rows, tmp_path):
    """TRL would run the reference over it beforehand and add columns, which the collator refuses."""
    trainer = trainer_of(model, processor, rows, tmp_path)
    new = Dataset.from_list(rows[:2])
    figures = trainer.evaluate(trainer._prepare_dataset(new, processor, trainer.args, "new"))
    assert figures["eval_loss"] == pytest.approx(LN2, abs=1e-5) and new.column_names == list(rows[0])
    assert trainer._precompute_ref_logps(new, "new", 2) is new


def test_scores_of_pairs_are_those_of_the_loss(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path, per_device_eval_batch_size=3)
    stir(trainer.model)
    scores = pair_scores(trainer, Dataset.from_list(rows))
    for side in PAIR:
        wanted = [float(log_prob(trainer.model, processor, row, side).sum().detach()) for row in rows]
        assert scores[side] == pytest.approx(wanted, abs=1e-3)
        with trainer.model.disable_adapter():
            wanted = [float(log_prob(trainer.model, processor, row, side).sum().detach()) for row in rows]
        assert scores[f"ref_{side}"] == pytest.approx(wanted, abs=1e-3)
    assert scores["chosen_tokens"].tolist() == [18] * 4
    won = scores["chosen"] - scores["ref_chosen"] > scores["rejected"] - scores["ref_rejected"]
    assert preference_summary(scores)["reward"]["accuracy"] == won.mean()


def test_a_training_that_diverges_ends_with_an_error(model, processor, rows, tmp_path):
    trainer = trainer_of(model, processor, rows, tmp_path, max_steps=2)
    with torch.no_grad():
        next(tensor for name, tensor in trainer.model.named_parameters() if "lora_B" in name).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1, rows .*lora_B.* is not finite any more"):
        trainer.train()


def test_the_defaults_work_on_a_cpu_and_wrong_combinations_are_refused(tmp_path):
    config = EPOConfig(str(tmp_path), use_cpu=True)
    assert not config.bf16 and not config.gradient_checkpointing and not config.remove_unused_columns
    assert EPOConfig(str(tmp_path), use_cpu=True, bf16=True).bf16
    for options, told in (
        ({"emotion_margin": 1.0, "loss_type": ["ipo"]}, "change the sigmoid loss"),
        ({"weight_column": "w", "ld_alpha": 0.5}, "plain sigmoid loss"),
    ):
        with pytest.raises(ValueError, match=told):
            EPOConfig(str(tmp_path), use_cpu=True, **options)


def test_pairs_that_do_not_fit_are_left_out_and_counted(model, processor, rows, tmp_path, caplog):
    rows[1]["rejected"][0]["content"][0]["text"] = "ha " * 200
    held_out = Dataset.from_list(rows[:2])
    trainer = trainer_of(model, processor, rows, tmp_path, eval_rows=held_out, max_length=300)
    assert trainer.train_dataset["id"] == ["a", "c", "d"] and trainer.eval_dataset["id"] == ["a"]
    assert "1 of 4 rows do not fit into 300 positions" in caplog.text


def test_weights_that_deepspeed_takes_apart_are_refused(model, processor, rows, tmp_path):
    config = EPOConfig(str(tmp_path), use_cpu=True)
    config.deepspeed_plugin = SimpleNamespace(zero_stage=3)
    with pytest.raises(ValueError, match="use ZeRO-2"):
        EPOTrainer(model, args=config, train_dataset=Dataset.from_list(rows), processing_class=processor)


def test_projections_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="proj cannot be trained beside LoRA"):
        language_model_lora(projections=["proj"])
