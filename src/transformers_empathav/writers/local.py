"""Replies by a model in this process."""

import os
from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ..checkpoint.loading import load_model
from ..modeling.configuration_empathav import EmpathAVConfig
from ..processing.processing_empathav import EmpathAVProcessor
from .sampling import Sampling, Written, as_text


class TransformersEngine:
    r"""
    A causal language model or an EmpathAV checkpoint in this process; a batch shares one run of `generate` with its
    cache of keys and values.

    Args:
        checkpoint (`str` or `os.PathLike`): Directory or Hub id.
        adapter (`str` or `os.PathLike`, *optional*): A PEFT adapter for it, merged in.
        sampling ([`Sampling`]): How replies are drawn.
        device (`str` or `torch.device`, *optional*): CUDA where there is one by default.
        dtype (`str`, *optional*): Of the weights, `"bfloat16"` for example. By default the checkpoint's own, and on a
            CPU float32: where bfloat16 is emulated, float32 is several times faster.

    Raises:
        `ValueError`: the model has no chat template.
    """

    concurrency = 1

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        adapter: str | os.PathLike | None = None,
        sampling: Sampling = Sampling(),  # noqa: B008 (it is frozen)
        device: str | torch.device | None = None,
        dtype: str | None = None,
    ):
        self.sampling = sampling
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if dtype is None:
            dtype = "float32" if self.device.type == "cpu" else "auto"
        dtype = dtype if dtype == "auto" else getattr(torch, dtype)
        self.reads_clips = isinstance(AutoConfig.from_pretrained(checkpoint), EmpathAVConfig)
        if self.reads_clips:
            model, self.processor = load_model(checkpoint, dtype), EmpathAVProcessor.from_pretrained(checkpoint)
            self.tokenizer = self.processor.tokenizer
        else:
            model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
            if self.tokenizer.chat_template is None:
                raise ValueError(f"{checkpoint} has no chat template: take the model's instruction-tuned version.")
            if self.tokenizer.pad_token is None:
                self.tokenizer.pad_token = self.tokenizer.eos_token
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model = model.to(self.device).eval()
        self.positions = model.config.get_text_config().max_position_embeddings
        ends = model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        self.ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=self.device)

    @torch.no_grad()
    def write(self, prompts: Sequence[list[dict]], seeds: Sequence[int]) -> list[Written]:
        r"""
        One reply to each prompt.

        Args:
            prompts (`Sequence[list[dict]]`): Messages, the last one a user's.
            seeds (`Sequence[int]`): One a prompt; the first one seeds the draws of the whole batch, so a reply is the
                same again only in the same batch.
        """
        room = self.positions - self.sampling.max_new_tokens
        replies: list[Written | None] = [None] * len(prompts)
        fitting = list(range(len(prompts)))
        if self.reads_clips:
            inputs = self.processor.apply_chat_template(
                list(prompts), add_generation_prompt=True, tokenize=True, return_dict=True, max_length=room
            )
        else:
            texts = [
                self.tokenizer.apply_chat_template(as_text(prompt), add_generation_prompt=True, tokenize=False)
                for prompt in prompts
            ]
            ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            fitting = [index for index in fitting if len(ids[index]) <= room]
            replies = [Written("", "prompt") if len(row) > room else None for row in ids]
            if not fitting:
                return replies
            inputs = self.tokenizer.pad({"input_ids": [ids[index] for index in fitting]}, return_tensors="pt")
        sampling = {"do_sample": False}
        if self.sampling.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
            sampling["top_k"] = 0
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seeds[0])
            tokens = self.model.generate(
                **inputs.to(self.device),
                **sampling,
                max_new_tokens=self.sampling.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ended = torch.isin(tokens, self.ends).any(dim=1).tolist()
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        for index, text, end in zip(fitting, texts, ended):
            replies[index] = Written(text.strip(), "stop" if end else "length")
        return replies
