"""Specificity: figures by hand, and likelihoods that neither batches, padding nor the kept prompt change."""

import numpy as np
import pytest
import torch

from transformers_empathav.measures.specificity import ReplyLikelihood, other_prompts, specificity


PROMPTS = [
    [{"role": "user", "content": "I lost my dog."}],
    [{"role": "user", "content": [{"type": "text", "text": "We won!"}]}, {"role": "assistant", "content": "You did?"},
     {"role": "user", "content": "Yes, at last, after all these years."}],
]  # fmt: skip
REPLIES = ["I am so sorry to hear that.", "Oh", "", "Well done!"]
PAIRS = [(0, 0), (1, 0), (0, 3), (1, 1), (0, 2), (0, 1), (1, 3)]


@pytest.fixture
def checkpoint(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def test_it_is_the_cross_entropy_of_the_words_after_the_prompt(checkpoint):
    likelihood = ReplyLikelihood(checkpoint, device="cpu")
    found = likelihood(PROMPTS, REPLIES, PAIRS)
    for (prompt, reply), (nats, tokens) in zip(PAIRS, found):
        said = likelihood.tokens(REPLIES[reply])
        plain = [{**one, "content": "We won!"} if isinstance(one["content"], list) else one for one in PROMPTS[prompt]]
        ids = likelihood.tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            logits = likelihood.model(torch.tensor([ids + said])).logits[0]
        chosen = logits[len(ids) - 1 : -1].log_softmax(dim=-1)[range(len(said)), said] if said else torch.zeros(0)
        assert tokens == len(said)
        assert nats == pytest.approx(-float(chosen.sum()), abs=1e-3)


def test_neither_batches_nor_the_side_of_padding_change_it(checkpoint):
    found = ReplyLikelihood(checkpoint, device="cpu")(PROMPTS, REPLIES, PAIRS)
    for size, side in ((1, "right"), (2, "left"), (8, "left")):
        other = ReplyLikelihood(checkpoint, batch_size=size, device="cpu")
        other.tokenizer.padding_side = side
        assert other(PROMPTS, REPLIES, PAIRS) == pytest.approx(found, abs=1e-3)


def test_figures_by_hand():
    prompts, replies = [["a"], ["b"], ["c"]], ["A", "B", ""]
    nats = {(0, 0): 4, (1, 0): 6, (2, 0): 8, (0, 1): 5, (1, 1): 9, (2, 1): 6}
    tokens = [2, 3, 0]

    def likelihood(given, said, pairs):
        assert given == prompts and said == replies
        return np.array([[nats.get(pair, 0), tokens[pair[1]]] for pair in pairs])

    found = specificity(prompts, replies, ["x", "y", "z"], likelihood, choices=3)
    assert found["specificity"].values() == pytest.approx([(7 - 4) / 2, (5.5 - 9) / 3, np.nan], nan_ok=True)
    assert found["specificity"].figure() == pytest.approx((3 - 3.5) / 5)
    assert found["context_retrieval"].figure() == 1 / 2 and found["context_retrieval"].count() == 2
    assert found["reply_perplexity"].figure() == pytest.approx(np.exp(13 / 5))


def test_other_contexts_are_of_other_conversations_and_the_same_for_all_systems():
    groups = [name for name in "abcdef" for _ in range(2)]
    drawn = other_prompts(groups, 4)
    assert drawn == other_prompts(groups, 4) != other_prompts(groups, 4, seed=1)
    for row, others in enumerate(drawn):
        assert len(set(others)) == 4 and groups[row] not in {groups[other] for other in others}
    assert all(len(others) == 10 for others in other_prompts(groups, 50))
    with pytest.raises(ValueError, match="two conversations or more"):
        other_prompts(["a", "a"], 3)
