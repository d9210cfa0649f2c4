"""Each option that TRL gives its DPOTrainer works here, or is refused with what to do instead."""

from pathlib import Path

import pytest
import torch
from trl import DPOConfig

from pairs import pair
from preferences import loss_of, stir, trainer_of
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.epo.config import WITHOUT_EFFECT, EPOConfig


# Options of TRL that work, each with a test beside this file that shows it, or the library whose business it is.
LOSSES = "test_options::test_losses_of_trl_are_those_of_trl"
MEMORY = "test_options::test_memory_is_saved_without_another_gradient"
SYNC = "test_contract::test_the_reference_of_a_whole_model_follows_it_where_asked"
FORMULA = "test_trainer::test_the_loss_is_the_formula"
WORK = {
    "beta": FORMULA,
    "loss_type": FORMULA,
    "loss_weights": FORMULA,
    "label_smoothing": LOSSES,
    "ld_alpha": LOSSES,
    "f_divergence_type": LOSSES,
    "f_alpha_divergence_coef": LOSSES,
    "use_weighting": LOSSES,
    "discopop_tau": LOSSES,
    "gradient_checkpointing": MEMORY,
    "activation_offloading": MEMORY,
    "sync_ref_model": SYNC,
    "ref_model_mixup_alpha": SYNC,
    "ref_model_sync_steps": SYNC,
    "max_length": "test_trainer::test_pairs_that_do_not_fit_are_left_out_and_counted",
    "pad_to_multiple_of": "test_options::test_padding_to_a_multiple_changes_widths_and_nothing_else",
    "disable_dropout": "test_trainer::test_the_loss_begins_at_ln_2_whatever_dropout_frozen_parts_have",
    "bf16": "test_trainer::test_the_defaults_work_on_a_cpu_and_wrong_combinations_are_refused",
    "learning_rate": "transformers",
    "logging_steps": "transformers",
    "lr_scheduler_kwargs": "transformers",
    "torch_empty_cache_steps": "transformers",
}
TRAINER = {"remove_unused_columns", "label_smoothing_factor"}  # refused options of `Trainer`
OTHER = {
    "model_init_kwargs": {"dtype": "float32"},
    "trust_remote_code": True,
    "router_aux_loss_coef": 0.1,
    "dataset_num_proc": 2,
    "truncation_mode": "keep_end",
    "padding_free": True,
    "precompute_ref_log_probs": True,
    "precompute_ref_batch_size": 2,
    "pad_token": "<|im_end|>",
    "use_liger_kernel": True,
    "remove_unused_columns": True,
    "label_smoothing_factor": 0.1,
}


def test_every_option_of_trl_works_or_is_refused():
    """A new one does neither, until somebody has looked at it."""
    kinds = [kind for kind in DPOConfig.__mro__ if kind.__module__.startswith("trl.")]
    assert {name for kind in kinds for name in kind.__annotations__} == (set(WORK) | set(WITHOUT_EFFECT)) - TRAINER
    for file, _, test in (place.partition("::") for place in WORK.values() if "::" in place):
        assert f"def {test}(" in Path(__file__).with_name(f"{file}.py").read_text()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_an_option_without_effect_is_refused_with_what_to_do_instead(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}=.* has no effect in EPO, so leave it out: ") as error:
        EPOConfig(str(tmp_path), use_cpu=True, **{name: OTHER[name]})
    assert "\n" not in str(error.value)


def scored(trainer, rows):
    """The loss of some rows and the gradient of each adapter weight."""
    trainer.model.zero_grad()
    loss = loss_of(trainer, rows)
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in trainer.model.named_parameters() if "lora_" in name}


def same(one, other, tolerance=1e-5):
    assert torch.allclose(one[0], other[0], atol=tolerance)
    assert all(torch.allclose(gradient, other[1][name], atol=tolerance) for name, gradient in one[1].items())


def test_padding_to_a_multiple_changes_widths_and_nothing_else(model, processor, rows, tmp_path):
    plain, padded = (
        trainer_of(tiny_model(processor), processor, rows, tmp_path, **options)
        for options in ({}, {"pad_to_multiple_of": 64})
    )
    for trainer in (plain, padded):
        stir(trainer.model)
    assert plain.data_collator(rows)["input_ids"].shape[1] % 64
    batch = padded.data_collator(rows)
    assert all(batch[name].shape[1] % 64 == 0 for name in ("input_ids", "attention_mask", "completion_mask"))
    same(scored(plain, rows), scored(padded, rows))


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_offloading"])
def test_memory_is_saved_without_another_gradient(processor, rows, tmp_path, name):
    if name == "activation_offloading" and not torch.accelerator.is_available():
        with pytest.raises(ValueError, match="moves what a GPU keeps to the CPU, and there is none: leave it off"):
            EPOConfig(str(tmp_path), use_cpu=True, **{name: True})
        return
    found = []
    for given in ({}, {name: True}):
        trainer = trainer_of(
            tiny_model(processor), processor, rows, tmp_path, max_steps=1, optim="sgd", max_grad_norm=0.0, **given
        )
        stir(trainer.model)
        trainer.train()
        found.append({name: tensor for name, tensor in trainer.model.named_parameters() if "lora_" in name})
    assert all(torch.allclose(tensor, found[1][name], atol=1e-6) for name, tensor in found[0].items())


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": ["robust"], "label_smoothing": 0.2},
        {"ld_alpha": 0.5},
        {"f_divergence_type": "forward_kl"},
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.3},
        {"use_weighting": True},
        {"loss_type": ["discopop"], "discopop_tau": 0.5},
    ],
)
def test_losses_of_trl_are_those_of_trl(model, processor, rows, tmp_path, options):
    """On text alone TRL's own trainer runs the reference itself: the loss has to be the same."""
    from trl import DPOTrainer

    words = [pair(name) for name in "ab"]
    words[0]["chosen"][0]["content"][0]["text"] = "I am so very sorry for you"
    ours = trainer_of(model, processor, words, tmp_path, ignored_columns=[], **options)
    stir(ours.model)
    batch = ours.data_collator(words)
    loss = ours.compute_loss(ours.model, batch)
    ours.precompute_ref_logps = False
    plain = {name: tensor for name, tensor in batch.items() if name != "modalities"}
    assert torch.allclose(loss, DPOTrainer._compute_loss(ours, ours.model, plain, False), atol=1e-5)
    default = trainer_of(tiny_model(processor), processor, words, tmp_path, ignored_columns=[])
    stir(default.model)
    assert abs(loss - loss_of(default, words)) > 1e-3
