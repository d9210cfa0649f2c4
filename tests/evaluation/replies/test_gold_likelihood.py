"""Perplexity of gold replies: against the model's own loss, by variant of history, batch = single, cached = fresh."""

import numpy as np
import pytest
import torch

from helpers import assistant, encode, frames, user
from transformers_empathav.evaluation.content_cache import ContentCache
from transformers_empathav.evaluation.replies import gold_likelihood
from transformers_empathav.evaluation.replies.gold_likelihood import (
    VARIANTS,
    encode_row,
    give_others,
    gold_perplexity,
    mean_pooled,
)


def row(name, *messages, reply="I see."):
    prompt = [message if isinstance(message, dict) else user(message) for message in messages]
    return {"id": name, "conversation": name, "prompt": prompt, "completion": [assistant(reply)]}


LONG = row("a", "a", assistant("b"), "c", assistant("d"), "e", assistant("f"), "g", reply="Well then")
ROWS = [LONG, row("b", "x", assistant("yy"), "z", assistant("uu"), "w"), row("c", "hello there")]


def test_it_is_the_cross_entropy_of_the_words(system, cache, processor):
    one = row("a", user(("video", frames(1)), "look"), assistant("what"), "this", reply="Oh, how nice")
    inputs = encode(processor, one["prompt"])
    words = torch.tensor([processor.tokenizer("Oh, how nice", add_special_tokens=False)["input_ids"]])
    before = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], words], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    labels = inputs["input_ids"].clone()
    labels[:, :before] = -100
    with torch.no_grad():
        loss = system.model(**inputs, labels=labels).loss
    assert gold_perplexity(system, [one], cache).figure() == pytest.approx(float(loss.exp()), rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_gives_what_single_rows_give(system, tmp_path, variant):
    found = [
        gold_perplexity(system, ROWS, ContentCache(tmp_path / f"{size}.jsonl"), variant, 2, batch_size=size)
        for size in (1, 3)
    ]
    assert found[0].statistics == pytest.approx(found[1].statistics, rel=1e-4)


def test_every_variant_shows_something_else(system, cache):
    figures = [gold_perplexity(system, [LONG, ROWS[1]], cache, variant, 2).statistics[0, 0] for variant in VARIANTS]
    assert len({round(figure, 4) for figure in figures}) == len(VARIANTS)


def test_without_older_messages_all_but_none_agree(system, cache):
    short = [row("a", "x", assistant("y"), "z")]
    figures = {variant: gold_perplexity(system, short, cache, variant, 3).figure() for variant in VARIANTS}
    rest = [value for name, value in figures.items() if name != "none"]
    assert rest == pytest.approx([rest[0]] * 5) and figures["none"] != pytest.approx(rest[0], rel=1e-3)


def test_the_figure_is_over_all_tokens(system, cache):
    scores = gold_perplexity(system, ROWS, cache, recent_turns=2)
    nats, tokens = scores.statistics.T
    assert tokens.tolist() == [9, 6, 6] and scores.figure() == pytest.approx(np.exp(nats.sum() / tokens.sum()))


def test_what_is_cached_is_not_computed_again(system, cache, monkeypatch):
    first = gold_perplexity(system, ROWS, cache, recent_turns=2)
    monkeypatch.setattr(gold_likelihood, "batch_losses", None)
    assert gold_perplexity(system, ROWS, ContentCache(cache.path), recent_turns=2).statistics.tolist() == (
        first.statistics.tolist()
    )


def test_the_other_memory_is_of_another_conversation(system):
    rows = [LONG, {**ROWS[1], "conversation": "a"}, {**ROWS[1], "id": "d", "conversation": "d"}]
    encoded = [encode_row(system, one, "other", 2) for one in rows]
    give_others(encoded, ["a", "a", "d"])
    assert encoded[0].other == encoded[2].history and encoded[2].other == encoded[0].history
    with pytest.raises(ValueError, match="no other conversation"):
        give_others(encoded[:2], ["a", "a"])


def test_mean_pooled_vectors_by_hand(system):
    mark, table = system.processor.memory_token_id, system.model.get_input_embeddings().weight
    found = mean_pooled(system, [10, 11, 12, mark, mark, 20, mark, mark], 2)
    means = torch.stack([table[[10, 11]].mean(0), table[12], table[20], table[20]])
    norm = table.norm(dim=-1).mean()
    assert torch.allclose(found, means / means.norm(dim=-1, keepdim=True) * norm, atol=1e-5)


def test_what_does_not_fit_is_refused_and_not_cut(system, cache):
    long = row("long", *["x" * 900] * 3)
    with pytest.raises(ValueError, match="Row long does not fit"):
        gold_perplexity(system, [long], cache, "full")
