"""What is read out of a memory: utterance by utterance, in order, and as the language model would write it alone."""

import pytest
import torch

from helpers import assistant, user
from transformers_empathav.recall import memory_frame, recall


TALK = [user("I lost my job"), assistant("Oh no"), user("They gave no reason"), assistant("That is hard")]


@pytest.fixture
def memory(model, processor):
    return model.compress(**processor.encode_history(TALK))


def test_in_batches_as_one_by_one(model, processor, memory):
    together = recall(model, processor, memory, max_new_tokens=6)
    assert len(together) == len(TALK)
    assert together == recall(model, processor, memory, max_new_tokens=6, batch_size=1)


def test_it_is_what_the_model_generates_from_those_vectors(model, processor, memory):
    before, after = memory_frame(processor)
    role = processor.tokenizer("assistant:", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([before + [processor.memory_token_id] * 2 + after + role])
    written = model.generate(input_ids=ids, memory_embeds=memory.vectors[0, 2:4], max_new_tokens=6, do_sample=False)
    text = processor.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    assert recall(model, processor, memory, max_new_tokens=6)[1] == text.split("\n")[0].strip()


def test_several_conversations_are_refused(model, processor):
    memory = model.compress(**processor.encode_history([TALK, TALK[:1]]))
    with pytest.raises(ValueError, match="memory.select"):
        recall(model, processor, memory)
