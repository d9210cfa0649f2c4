"""What is read out of a memory: utterance by utterance, in order, and as the language model would write it alone."""

from dataclasses import replace

import pytest
import torch

from helpers import assistant, user
from transformers_empathav.chat.recall import recall
from transformers_empathav.checkpoint.prompts import memory_frame


TALK = [user("I lost my job"), assistant("Oh no"), user("They gave no reason"), assistant("That is hard")]


@pytest.fixture
def memory(model, processor):
    return model.compress(**processor.encode_history(TALK))


def test_windows_are_written_together_as_one_by_one(model, processor, memory):
    together = recall(model, processor, memory, max_new_tokens=6, window=2)
    assert len(together) == len(TALK)
    for start in (0, 2):
        vectors = memory.vectors[:, 2 * start : 2 * start + 4]
        turns, roles = (tensor[:, 2 * start : 2 * start + 4] for tensor in (memory.turns, memory.roles))
        part = replace(memory, vectors=vectors, turns=turns, roles=roles, lengths=torch.tensor([4]))
        assert recall(model, processor, part, max_new_tokens=6) == together[start : start + 2]


def test_each_line_is_what_the_model_generates_after_the_lines_before(model, processor, memory):
    written = recall(model, processor, memory, max_new_tokens=6)
    before, after = memory_frame(processor)
    text = f"user: {written[0]}\nassistant:"
    begun = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([before + [processor.memory_token_id] * 8 + after + begun])
    ids = model.generate(input_ids=ids, memory_embeds=memory.flat(), max_new_tokens=6, do_sample=False)
    again = processor.tokenizer.decode(ids[0, -6:], skip_special_tokens=True)
    assert written[1] == again.split("\n")[0].strip()


def test_several_conversations_are_refused(model, processor):
    memory = model.compress(**processor.encode_history([TALK, TALK[:1]]))
    with pytest.raises(ValueError, match="memory.select"):
        recall(model, processor, memory)
