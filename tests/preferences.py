"""EPO in tests: its trainer on a tiny model, and its loss as the formula says."""

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import PeftModel

from helpers import encode
from trainers import SETTINGS
from transformers_empathav.training.collator import PAIR
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.trainer import EPOTrainer
from transformers_empathav.training.lora import language_model_lora


LN2 = math.log(2)


def trainer_of(model, processor, rows, folder, lora=None, collator=None, eval_rows=None, full=False, **options):
    """A trainer on `rows`, with a fresh adapter unless the model has one or shall learn as a whole (`full`)."""
    reference = options.pop("ref_model", None)
    settings = {**SETTINGS, "per_device_train_batch_size": 4, "ignored_columns": ["weight"], "beta": 0.5}
    return EPOTrainer(
        model,
        reference,
        args=EPOConfig(str(folder / "out"), **{**settings, **options}),
        train_dataset=Dataset.from_list(rows) if isinstance(rows, list) else rows,
        eval_dataset=eval_rows,
        processing_class=processor,
        peft_config=None if full or isinstance(model, PeftModel) else lora or language_model_lora(4),
        data_collator=collator,
    )


def stir(model, seed=0):
    """Gives the adapter an effect: a fresh one has none."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.default" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def loss_of(trainer, rows):
    return trainer.compute_loss(trainer.model, trainer.data_collator(rows))


def log_prob(model, processor, row, side):
    """Summed log-probability of a reply, by one plain forward pass over this conversation alone."""
    inputs = encode(processor, row["prompt"])
    words = row[side][0]["content"][0]["text"]
    reply = processor.tokenizer(f"{words}<|im_end|>", return_tensors="pt", add_special_tokens=False)["input_ids"]
    start = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], reply], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    log_probs = model(**inputs).logits[:, start - 1 : -1].log_softmax(dim=-1)
    return log_probs.gather(2, reply[..., None])[0, :, 0]


def by_hand(trainer, processor, rows, margin=0.0, weights=None, sft=0.0, reference=None):
    """EPO's loss as its formula says, against the model without its adapter or against another `reference`."""
    losses, chosen_tokens = [], []
    for index, row in enumerate(rows):
        policy = {side: log_prob(trainer.model, processor, row, side) for side in PAIR}
        with nullcontext() if reference is not None else trainer.model.disable_adapter(), torch.no_grad():
            known = {side: log_prob(reference or trainer.model, processor, row, side) for side in PAIR}
        gain = {side: policy[side].sum() - known[side].sum() for side in PAIR}
        score = trainer.beta * (gain["chosen"] - gain["rejected"]) - margin * row["emotional_distance"]
        losses.append(-F.logsigmoid(score) * (1.0 if weights is None else weights[index]))
        chosen_tokens.append(policy["chosen"])
    return torch.stack(losses).mean() - sft * torch.cat(chosen_tokens).mean()
