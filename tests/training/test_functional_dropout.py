"""Dropout that a layer applies by a number is off in preference training, so that the reference is the policy."""

import math

import torch
from datasets import Dataset

from pairs import pair
from transformers_empathav.testing.families import tiny_llm_config
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.trainer import EPOTrainer
from transformers_empathav.training.lora import language_model_lora


def test_the_first_loss_of_a_family_with_functional_dropout_is_ln_2(processor, tmp_path):
    config = tiny_llm_config("OPT")
    assert config.dropout == 0.1
    model = tiny_model(processor, text_config=config)
    rows = [pair("a"), pair("b")]
    trainer = EPOTrainer(
        model,
        args=EPOConfig(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no"),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=language_model_lora(4),
    )
    trainer.model.train()
    assert all(module.training for name, module in trainer.model.named_modules() if name.endswith("language_model"))
    with torch.no_grad():
        losses = [float(trainer.compute_loss(trainer.model, trainer.data_collator(rows))) for _ in range(3)]
    assert all(abs(loss - math.log(2)) < 1e-6 for loss in losses)
