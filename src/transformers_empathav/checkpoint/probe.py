"""Tries a checkpoint before it is handed over: a few forward passes which must agree, in float32 on the CPU."""

import os
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from ..modeling.modeling_empathav import EmpathAVForCausalLM
from .linear_layers import layers_pattern, linear_layers
from .loading import load_checkpoint
from .probe_encoders import MOST, difference, one_line, probe_encoders


# Text alone takes the same operations on the same numbers.
SAME = 1e-5
# Words of the two prompts, beside their vectors, and tokens that are written after them.
WORDS, STEPS = (6, 11), 3
# The fall of the loss that a step of LoRA is to bring, as a share of the loss, and by how much it may miss that.
FALL, MISS = 3e-4, 0.1


def probe(checkpoint: str | os.PathLike, bare: PreTrainedModel, say: Callable[[str], None] = print):
    r"""
    Loads a checkpoint and tries its language model and its encoders.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory of the checkpoint.
        bare (`PreTrainedModel`): The language model by itself, see [`with_weights_of`].
        say (`Callable`, *optional*, defaults to `print`): Called with each figure.

    Raises:
        `ValueError`: if something fails or differs; with the figure, in one line.
    """
    model, processor = load_checkpoint(checkpoint, "cpu", torch.float32)
    refused = f"{model.config.text_config.model_type!r} cannot be the language model:"
    instead = "Take one of another family, see docs/howto/language-models.md."
    for what, (check, most) in CHECKS.items():
        try:
            figure = check(model, bare)
        except Exception as error:
            raise ValueError(f"{refused} {what}: it fails ({one_line(error)}). {instead}") from error
        if not figure <= most:
            raise ValueError(f"{refused} {what}: off by {figure:.2g}, and at most {most:g} is right. {instead}")
        say(f"- {what}: off by {figure:.1g}")
    probe_encoders(model, processor)


@torch.no_grad()
def with_weights_of(model: EmpathAVForCausalLM, bare: PreTrainedModel) -> PreTrainedModel:
    """`bare`, a causal LM, with the weights of the language model in `model`: rounded, or with an adapter in them."""
    bare.base_model.load_state_dict(model.model.language_model.state_dict())
    bare.get_output_embeddings().load_state_dict(model.lm_head.state_dict())
    return bare.eval()


@torch.no_grad()
def text_alone(model: EmpathAVForCausalLM, bare: PreTrainedModel) -> float:
    """Difference of the logits for text from those of the bare language model."""
    ids = random_words(model, sum(WORDS))[None]
    return difference(model(input_ids=ids).logits, bare(input_ids=ids).logits)


@torch.no_grad()
def written(model: EmpathAVForCausalLM, bare: PreTrainedModel) -> float:
    """Difference of a reply's logits, written token by token from the cache, from those of one forward pass."""
    return max(reply_difference(model, row, write(model, row)) for row in prompts(model))


@torch.no_grad()
def padded(model: EmpathAVForCausalLM, bare: PreTrainedModel) -> float:
    """The same where both prompts are written in one batch, the shorter one padded on the left."""
    rows = prompts(model)
    width = max(row["input_ids"].shape[1] for row in rows)
    missing = [width - row["input_ids"].shape[1] for row in rows]
    filler = random_words(model, width)
    batch = {name: torch.cat([row[name] for row in rows]) for name in ("av_embeds", "memory_embeds")}
    batch["input_ids"] = torch.stack([torch.cat([filler[:n], row["input_ids"][0]]) for n, row in zip(missing, rows)])
    batch["attention_mask"] = (torch.arange(width) >= torch.tensor(missing)[:, None]).long()
    ids, logits = write(model, batch)
    replies = [(ids[row : row + 1, n:], logits[row : row + 1]) for row, n in enumerate(missing)]
    return max(reply_difference(model, row, reply) for row, reply in zip(rows, replies))


@torch.enable_grad()
def lora_step(model: EmpathAVForCausalLM, bare: PreTrainedModel) -> float:
    """By how much a small step of LoRA misses the fall of the loss that its gradient promises."""
    row = prompts(model)[-1]
    spoken = ~torch.isin(row["input_ids"], torch.tensor([model.config.av_token_id, model.config.memory_token_id]))
    row |= {"labels": row["input_ids"].where(spoken, -100), "use_cache": False}
    layers = linear_layers(model)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=layers_pattern(layers), task_type="CAUSAL_LM"))
    try:
        before = adapted(**row).loss
        before.backward()
        found = {name: weight for name, weight in adapted.named_parameters() if ".lora_B." in name}
        reached = {name: weight for name, weight in found.items() if weight.grad is not None}
        if deaf := [layer for layer in layers if not any(f".{layer}.lora_B." in name for name in reached)]:
            raise ValueError(f"no gradient reaches {', '.join(deaf)}")
        slope = sum(float(weight.grad.double().square().sum()) for weight in reached.values())
        with torch.no_grad():
            for weight in reached.values():
                weight -= FALL * float(before) / slope * weight.grad
            fall = float(before - adapted(**row).loss) / float(before)
    finally:
        adapted.unload()
    return abs(fall / FALL - 1)


# What is tried, and by how much it may be off.
CHECKS = {
    "text alone against the bare model": (text_alone, SAME),
    "a reply from the cache against one pass": (written, MOST),
    "a padded prompt in a batch against it alone": (padded, MOST),
    "a step of LoRA against its gradient": (lora_step, MISS),
}


def random_words(model: EmpathAVForCausalLM, count: int) -> torch.Tensor:
    """Random token ids, no placeholders."""
    known = torch.ones(model.config.text_config.vocab_size, dtype=torch.bool)
    known[[model.config.av_token_id, model.config.memory_token_id]] = False
    known = known.nonzero()[:, 0]
    return known[torch.randint(len(known), (count,), generator=torch.Generator().manual_seed(count))]


def prompts(model: EmpathAVForCausalLM) -> list[dict[str, torch.Tensor]]:
    """Prompts of different lengths, each with random vectors in place of an utterance and of a clip."""
    config, rows = model.config, []
    draw, table = torch.Generator().manual_seed(0), model.get_input_embeddings().weight
    vectors, usual = (config.memory_tokens_per_utterance, config.num_query_tokens), table.square().mean().sqrt()
    for count in WORDS:
        words = random_words(model, count).split([2, 2, count - 4])
        places = [torch.full((n,), i) for n, i in zip(vectors, (config.memory_token_id, config.av_token_id))]
        memory, clip = (torch.randn(n, table.shape[1], generator=draw) * usual for n in vectors)
        ids = torch.cat([words[0], places[0], words[1], places[1], words[2]])
        rows.append({"input_ids": ids[None], "memory_embeds": memory, "av_embeds": clip[None]})
    return rows


def write(model: EmpathAVForCausalLM, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of prompts with replies to them, and the logits of the replies."""
    length = {"max_new_tokens": STEPS, "min_new_tokens": STEPS}
    output = model.generate(**inputs, **length, do_sample=False, output_logits=True, return_dict_in_generate=True)
    return output.sequences, torch.stack(output.logits, dim=1)


def reply_difference(model: EmpathAVForCausalLM, prompt: dict, reply: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Difference of a reply's logits from those of one forward pass over it, without padding and without a cache."""
    ids, logits = reply
    whole = model(**{**prompt, "input_ids": ids}, use_cache=False).logits
    return difference(logits, whole[:, -STEPS - 1 : -1])
