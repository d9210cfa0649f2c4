"""Writing a reply: it is never empty, its pieces are the whole, and it can be stopped."""

import threading

import pytest
import torch
from transformers import GenerationConfig

from helpers import encode, user
from transformers_empathav.chat.writing import trimmed, write
from transformers_empathav.testing.tiny import tiny_model


class Writer:
    """Writes the given texts, one a call, and the token that ends them."""

    generation_config = GenerationConfig()
    device = torch.device("cpu")

    def __init__(self, tokenizer, *texts):
        ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        self.ids = [[*row, tokenizer.eos_token_id] for row in ids]
        self.calls, self.written = [], 0

    def generate(self, input_ids, custom_generate, **options):
        ids = self.ids[len(self.calls)]
        self.calls.append(options)
        for self.written in range(1, len(ids) + 1):
            yield torch.cat([input_ids[0], torch.tensor(ids[: self.written], dtype=torch.long)])[None]


def run(writer, tokenizer, inputs=None, **options):
    """The pieces of a reply and what they were."""
    pieces, writing = [], write(writer, tokenizer, inputs or {"input_ids": torch.tensor([[5, 6]])}, **options)
    while True:
        try:
            pieces.append(next(writing))
        except StopIteration as end:
            return pieces, end.value


@pytest.fixture
def tokenizer(processor):
    return processor.tokenizer


def test_a_reply_is_never_empty(tokenizer):
    writer = Writer(tokenizer, "", "  \n", "At last.")
    pieces, whole = run(writer, tokenizer)
    assert "".join(pieces) == whole.text == "At last."
    assert [call.get("min_new_tokens") for call in writer.calls] == [None, 8, 8]
    assert [call["do_sample"] for call in writer.calls] == [False, False, True]
    with pytest.raises(ValueError, match="white space"):
        run(Writer(tokenizer, "", " ", "\n"), tokenizer)


def test_a_reply_that_is_sampled_after_all_says_so(tokenizer, monkeypatch):
    said = []
    monkeypatch.setattr("transformers_empathav.chat.writing.logger.warning", said.append)
    run(Writer(tokenizer, "", "", "At last."), tokenizer)
    assert len(said) == 1 and "sampled" in said[0]
    run(Writer(tokenizer, "", "", "At last."), tokenizer, do_sample=True)  # then every try is
    assert len(said) == 1


def test_the_end_is_told(tokenizer):
    writer = Writer(tokenizer, " Well then. ", "Well")
    pieces, whole = run(writer, tokenizer)
    assert ("".join(pieces), whole.ended, whole.tokens) == ("Well then.", "stop", writer.written)
    _, whole = run(Writer(tokenizer, "Well"), tokenizer, max_new_tokens=len(writer.ids[1]))
    assert whole.ended == "length"


def test_closing_stops_the_work(tokenizer):
    writer, before = Writer(tokenizer, "word " * 500), threading.active_count()
    writing = write(writer, tokenizer, {"input_ids": torch.tensor([[5, 6]])})
    next(writing)
    assert writer.written < 10 and threading.active_count() == before
    writing.close()
    assert writer.written < 10


def test_what_fails_while_it_writes_fails_here(tokenizer):
    class Broken(Writer):
        def generate(self, **options):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run(Broken(tokenizer, "Well"), tokenizer)


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(processor)


def reply_of(model, processor, **options):
    """A reply and what `generate` writes at the same prompt."""
    inputs = dict(encode(processor, [user("I lost my job")]))
    usual = {"do_sample": False, "repetition_penalty": 1.1, "max_new_tokens": 12, "tokenizer": processor.tokenizer}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        whole = model.generate(**inputs, **usual | options)
    text = processor.tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    _, written = run(model, processor.tokenizer, inputs=inputs, max_new_tokens=12, seed=7, **options)
    return written.text, text.strip()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample": True, "temperature": 2.0},
        {"do_sample": True, "top_k": 3, "min_new_tokens": 8},
        {"use_cache": False},
        {"num_beams": 2},
        {"prompt_lookup_num_tokens": 3},
        {"stop_strings": ["e"]},
    ],
)
def test_it_is_what_generate_writes(model, processor, options):
    written, expected = reply_of(model, processor, **options)
    assert written == expected != ""


def test_a_streamer_of_the_callers_own_is_served(model, processor):
    heard = []

    class Listener:
        def put(self, value):
            heard.append(value)

        def end(self):
            heard.append("end")

    inputs = dict(encode(processor, [user("Hello")]))
    _, written = run(model, processor.tokenizer, inputs=inputs, max_new_tokens=4, streamer=Listener())
    assert len(heard) == 2 + written.tokens and heard[-1] == "end"


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([" a", " b ", " ", "c  "], ["a", " b", "  c"]),
        (["\n", " "], []),
        (["", "x", "", "\n", "\n"], ["x"]),
    ],
)
def test_white_space_around_the_whole_is_left_out(pieces, kept):
    assert list(trimmed(iter(pieces))) == kept
