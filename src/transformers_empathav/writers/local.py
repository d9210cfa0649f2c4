"""Replies written by a model in this process."""

import os
from collections.abc import Sequence
from functools import partial

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchEncoding,
    BatchFeature,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..checkpoint.loading import default_device, default_dtype, load_checkpoint
from ..checkpoint.parts import positions
from ..modeling.configuration_empathav import EmpathAVConfig
from ..processing.chat_template_empathav import TemplateRules
from ..processing.processing_empathav import EmpathAVProcessor
from .sampling import Sampling, Written, as_text


class LocalWriter:
    r"""
    Writes replies with a loaded model. [`LocalWriter.from_pretrained`] loads one.

    Args:
        model (`PreTrainedModel`): A causal language model or an [`EmpathAVForCausalLM`], in evaluation mode.
        processor ([`EmpathAVProcessor`] or `PreTrainedTokenizerBase`):
            The processor of an EmpathAV checkpoint. For any other model its tokenizer, with left padding; clips are
            then left out of the prompts.
        sampling ([`Sampling`], *optional*): How replies are drawn.
    """

    concurrency = 1  # prompts are batched, not written in threads

    def __init__(
        self,
        model: PreTrainedModel,
        processor: EmpathAVProcessor | PreTrainedTokenizerBase,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
    ):
        self.model, self.processor, self.sampling = model, processor, sampling
        self.tokenizer = processor.tokenizer if isinstance(processor, EmpathAVProcessor) else processor

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | os.PathLike,
        adapter: str | os.PathLike | None = None,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> "LocalWriter":
        r"""
        Loads a causal language model or an EmpathAV checkpoint.

        Args:
            checkpoint (`str` or `os.PathLike`): Directory or Hub id.
            adapter (`str` or `os.PathLike`, *optional*): A PEFT adapter, merged into the model.
            sampling ([`Sampling`], *optional*): How replies are drawn.
            device (`str` or `torch.device`, *optional*): CUDA where there is one by default.
            dtype (`torch.dtype` or `str`, *optional*): Of the weights; see [`default_dtype`].

        Raises:
            `ValueError`: the model has no chat template.
        """
        device = default_device(device)
        if isinstance(AutoConfig.from_pretrained(checkpoint), EmpathAVConfig):
            model, processor = load_checkpoint(checkpoint, device, dtype)
        else:
            dtype = default_dtype(device) if dtype is None else dtype
            model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).to(device).eval()
            processor = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
            if processor.chat_template is None:
                raise ValueError(f"{checkpoint} has no chat template: take the model's instruction-tuned version.")
            if processor.pad_token is None:
                processor.pad_token = processor.eos_token
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()
        return cls(model, processor, sampling)

    def write(self, prompts: Sequence[list[dict]], seeds: Sequence[int]) -> list[Written]:
        r"""
        Writes one reply to each prompt, in one batch.

        Args:
            prompts (`Sequence[list[dict]]`): Messages, the last one a user's.
            seeds (`Sequence[int]`): One for each prompt. The first seeds the whole batch, so only the same batch gives
                the same replies again.
        """
        room = positions(self.model.config.get_text_config()) - self.sampling.max_new_tokens
        if isinstance(self.processor, EmpathAVProcessor):
            inputs = self.processor.apply_chat_template(
                list(prompts), add_generation_prompt=True, tokenize=True, return_dict=True, max_length=room
            )
            return self.generate(inputs, seeds[0])
        render = partial(self.tokenizer.apply_chat_template, tokenize=False)
        rules = TemplateRules.of(render)
        texts = render([rules.arrange(as_text(prompt)) for prompt in prompts], add_generation_prompt=True)
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        fitting = [row for row in ids if len(row) <= room]
        written = iter(())
        if fitting:
            written = iter(self.generate(self.tokenizer.pad({"input_ids": fitting}, return_tensors="pt"), seeds[0]))
        return [next(written) if len(row) <= room else Written("", "prompt") for row in ids]

    @torch.no_grad()
    def generate(self, inputs: BatchEncoding | BatchFeature, seed: int = 0) -> list[Written]:
        """Writes one reply to each row of a left-padded batch. The global random state stays as it is."""
        sampling, device = self.sampling, self.model.device
        draw = {"do_sample": False}
        if sampling.temperature > 0:
            draw = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            tokens = self.model.generate(
                **inputs.to(device),
                **draw,
                max_new_tokens=sampling.max_new_tokens,
                repetition_penalty=sampling.repetition_penalty,
                pad_token_id=self.tokenizer.pad_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ends = self.model.generation_config.eos_token_id
        ends = torch.tensor(self.tokenizer.eos_token_id if ends is None else ends, device=device)
        ended = torch.isin(tokens, ends).any(dim=1).tolist()
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [Written(text.strip(), "stop" if end else "length") for text, end in zip(texts, ended)]
