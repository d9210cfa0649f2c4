"""What the language model reads out of a memory: each utterance written again from its vectors alone."""

import torch

from ..checkpoint.prompts import memory_frame
from ..modeling.conversation_memory_empathav import ROLES, ConversationMemory
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor


@torch.no_grad()
def recall(
    model: EmpathAVForCausalLM,
    processor: EmpathAVProcessor,
    memory: ConversationMemory,
    max_new_tokens: int = 64,
    window: int = 4,
) -> list[str]:
    r"""
    Greedy reconstructions of one conversation, line by line, each after those of its window that were written before.

    Args:
        memory ([`ConversationMemory`]): Of one conversation.
        max_new_tokens (`int`, *optional*, defaults to 64): Longest reconstruction of an utterance, in tokens.
        window (`int`, *optional*, defaults to 4): Utterances whose vectors are seen together.

    Returns:
        `list[str]`: For each group of `memory.vectors_per_utterance` vectors what it says: an utterance, or what is
        left of several that were merged.

    Raises:
        `ValueError`: the memory is of several conversations, or another checkpoint made it.
    """
    if len(memory) != 1:
        raise ValueError(f"The memory holds {len(memory)} conversations and one is recalled: use memory.select.")
    model.model.check_memory(memory)
    tokenizer = processor.tokenizer
    before, after = memory_frame(processor)
    parts = memory.vectors[0].split(window * memory.vectors_per_utterance)
    prompts = [before + [processor.memory_token_id] * len(part) + after for part in parts]
    roles = [group["role"] for group in contents(memory)]
    written = [""] * len(roles)
    for line in range(min(window, len(roles))):
        places = range(line, len(roles), window)  # the windows that have so many lines are the first ones
        for index, place in enumerate(places):
            name = roles[place] if roles[place] in ("user", "assistant", "system") else "user"
            prompts[index] = prompts[index] + tokenizer(f"{name}:", add_special_tokens=False)["input_ids"]
        inputs = tokenizer.pad({"input_ids": prompts[: len(places)]}, padding_side="left", return_tensors="pt")
        ids = model.generate(
            **inputs.to(model.device),
            memory_embeds=torch.cat(parts[: len(places)]),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            stop_strings=["\n"],
            tokenizer=tokenizer,
        )
        texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, (place, text) in enumerate(zip(places, texts)):
            written[place] = text.split("\n")[0].strip()
            said = tokenizer(f" {processor.escape(written[place])}\n", add_special_tokens=False)["input_ids"]
            prompts[index] = prompts[index] + said
    return written


def contents(memory: ConversationMemory, texts: list[str] | None = None) -> list[dict]:
    """For each group of vectors of one conversation its turn, utterances and role, and its text from `recall`."""
    size = memory.vectors_per_utterance
    columns = {
        "turn": memory.turns[0, ::size].tolist(),
        "utterances": memory.spans()[0].tolist(),
        "role": [ROLES[role] for role in memory.roles[0, ::size].tolist()],
    }
    if texts is not None:
        columns["text"] = texts
    return [dict(zip(columns, row)) for row in zip(*columns.values())]
