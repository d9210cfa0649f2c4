"""Writing a reply: it is never empty, its pieces are the whole, and it can be stopped."""

import threading

import pytest
import torch
from transformers import GenerationConfig

from transformers_empathav.chat.writing import trimmed, write


class Writer:
    """Writes the given texts, one a call."""

    generation_config = GenerationConfig()

    def __init__(self, tokenizer, *texts):
        self.ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        self.calls = []

    def generate(self, input_ids, streamer, stopping_criteria, **options):
        ids, written = self.ids[len(self.calls)], []
        self.calls.append(options)
        streamer.put(input_ids)
        for token in ids:
            streamer.put(torch.tensor([token]))
            written.append(token)
            if any(criterion(input_ids, None).any() for criterion in stopping_criteria):
                break
        streamer.end()
        self.written = written
        return torch.cat([input_ids[0], torch.tensor(written)])[None]


def run(writer, tokenizer, **options):
    """The pieces of a reply and what they were."""
    pieces, writing = [], write(writer, tokenizer, {"input_ids": torch.tensor([[5, 6]])}, **options)
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
    assert ("".join(pieces), whole.ended, whole.tokens) == ("Well then.", "stop", len(writer.written))
    _, whole = run(Writer(tokenizer, "Well"), tokenizer, max_new_tokens=len(writer.ids[1]))
    assert whole.ended == "length"


def test_closing_stops_the_work(tokenizer):
    writer, before = Writer(tokenizer, "word " * 500), threading.active_count()
    writing = write(writer, tokenizer, {"input_ids": torch.tensor([[5, 6]])})
    next(writing)
    writing.close()
    assert threading.active_count() == before


def test_what_fails_in_the_thread_fails_here(tokenizer):
    class Broken(Writer):
        def generate(self, **options):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run(Broken(tokenizer), tokenizer)


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
