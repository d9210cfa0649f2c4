"""What the language model reads out of a memory: each utterance written again from its vectors alone."""

import torch

from .modeling.conversation_memory_empathav import ROLES, ConversationMemory
from .modeling.modeling_empathav import EmpathAVForCausalLM
from .processing.processing_empathav import EmpathAVProcessor


def memory_frame(processor: EmpathAVProcessor) -> tuple[list[int], list[int]]:
    """Token ids around a memory from which a conversation is to be written: a system turn, then the reply's start."""
    tokenizer, mark = processor.tokenizer, processor.memory_token
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": mark}], tokenize=False, add_generation_prompt=True
    )
    return tuple(tokenizer(side, add_special_tokens=False)["input_ids"] for side in text.split(mark))


@torch.no_grad()
def recall(
    model: EmpathAVForCausalLM,
    processor: EmpathAVProcessor,
    memory: ConversationMemory,
    max_new_tokens: int = 64,
    batch_size: int = 32,
) -> list[str]:
    r"""
    Greedy reconstructions of one conversation.

    Args:
        memory ([`ConversationMemory`]): Of one conversation.
        max_new_tokens (`int`, *optional*, defaults to 64): Longest reconstruction, in tokens.
        batch_size (`int`, *optional*, defaults to 32): Utterances written at a time.

    Returns:
        `list[str]`: For each group of `memory.vectors_per_utterance` vectors what it says: an utterance, or what is
        left of several that were merged.

    Raises:
        `ValueError`: the memory is of several conversations, or another checkpoint made it.
    """
    if len(memory) != 1:
        raise ValueError(f"The memory holds {len(memory)} conversations and one is recalled: use memory.select.")
    model.model.compressor.check(memory)
    size, tokenizer = memory.vectors_per_utterance, processor.tokenizer
    before, after = memory_frame(processor)
    groups = memory.vectors[0].split(size)
    written = []
    for start in range(0, len(groups), batch_size):
        batch = groups[start : start + batch_size]
        rows = []
        for role in memory.roles[0, start * size :: size][: len(batch)].tolist():
            name = ROLES[role] if ROLES[role] in ("user", "assistant", "system") else "user"
            begun = tokenizer(f"{name}:", add_special_tokens=False)["input_ids"]
            rows.append(before + [processor.memory_token_id] * size + after + begun)
        inputs = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(model.device)
        ids = model.generate(
            **inputs,
            memory_embeds=torch.cat(batch),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            stop_strings=["\n"],
            tokenizer=tokenizer,
        )
        texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        written += [text.split("\n")[0].strip() for text in texts]
    return written
