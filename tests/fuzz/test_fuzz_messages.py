"""Messages, histories and arrays of every kind: understood, or refused in one line that says what is wrong."""

import json
import os
import random
import signal
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, note, seed, settings
from hypothesis import strategies as st

from fuzz.cases import CASES, SEED, command, documented, try_all
from fuzz.child import Child
from fuzz.mutations import mutated
from fuzz.strange import URI, arrays, conversations, numbers, rates
from transformers_empathav.cli.respond import read_history
from transformers_empathav.processing.media_empathav import MediaError, load_clip
from transformers_empathav.processing.media_limits_empathav import MissingMediaError


ERRORS = (ValueError, MediaError, MissingMediaError)
drawn = settings(
    max_examples=CASES, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)


def converse(processor, conversation):
    """Both ways in which messages are read: as a prompt, and as a history."""
    with documented(*ERRORS):
        inputs = processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=True, recent_turns=2
        )
        start, end = processor.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"]):
            ids = ids[mask.bool()]
            assert (ids == start).sum() == (ids == end).sum() + 1, "a text has become a control token"
        clips = len(inputs.get("audio_mask", ()))
        assert (inputs["input_ids"] == processor.av_token_id).sum() == clips * processor.num_query_tokens
        for value in inputs.values():
            assert value.isfinite().all()
    with documented(*ERRORS):
        history = processor.encode_history(conversation)
        assert (history["history_input_ids"] == processor.memory_token_id).sum() % 2 == 0


def hear_or_see(case):
    source, options = case
    with documented(*ERRORS):
        for clip in load_clip(source, **options):
            assert clip.audio is None or clip.audio.dtype == np.float32 and np.isfinite(clip.audio).all()
            assert clip.frames is None or clip.frames.dtype == np.uint8 and clip.frames.shape[3] == 3
            assert 0 <= clip.start < clip.end < 301


@pytest.fixture(scope="module")
def talker(processor):
    with Child(partial(converse, processor)) as child:
        yield child


@pytest.fixture(scope="module")
def media():
    with Child(hear_or_see) as child:
        yield child


def tried(child: Child, case, test: str):
    fault = child(case)
    if fault is not None:
        note(command(f"test_fuzz_messages.py::{test}"))
    assert fault is None, fault


@drawn
@seed(SEED)
@given(conversations)
@example([{"role": "user", "content": [{"type": "audio", "url": URI}, {"type": "text", "text": "<|av|>"}]}])
def test_messages_of_every_kind(talker, conversation):
    tried(talker, conversation, "test_messages_of_every_kind")


given_options = st.fixed_dictionaries(
    {"want": st.sampled_from(["audio", "both", "any"])},
    optional={
        "sampling_rate": rates, "array_sampling_rate": rates, "array_fps": rates, "num_frames": numbers | st.just(3),
        "window_seconds": numbers | st.sampled_from([0.01, 30]), "sound": arrays(),
    },
)  # fmt: skip


@drawn
@seed(SEED)
@given(st.tuples(arrays(), given_options))
def test_arrays_of_every_kind(media, case):
    tried(media, case, "test_arrays_of_every_kind")


HISTORY = "\n".join(
    json.dumps(message)
    for message in (
        {"role": "user", "content": "I lost my job \u00e9\ud83d\ude00", "emotion": "sad", "speaker": "Ross"},
        {"role": "assistant", "content": [{"type": "text", "text": "Oh no"}]},
        {"role": "user", "content": [{"type": "audio", "url": "data:audio/wav;base64,UklGRg=="}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}, {"type": "text", "text": "hi"}],
        },
    )
).encode()


def test_damaged_histories(tmp_path):
    path = tmp_path / "history.jsonl"

    def read(data):
        path.write_bytes(data)
        with documented(*ERRORS):
            json.dumps(read_history(path))

    with Child(read) as child:
        try_all(
            "test_fuzz_messages.py::test_damaged_histories",
            CASES,
            lambda draw: child(mutated(draw, HISTORY, wild(draw))),
        )


def wild(draw: random.Random) -> bytes:
    """JSON that parsers stumble over."""
    return draw.choice(
        (b"[" * 50_000, b"9" * 5_000, b'"\\ud800"', b'{"a":' * 9_000, b"NaN,Infinity,-0,1e999", b"\x00\xff")
    )


def test_the_child_notices_what_is_wrong():
    """A fuzzer that never fails shows nothing."""

    def stumble(case):
        with documented(ValueError):
            if case == "much":
                np.ones(2**30)  # 8 GB
            if case == "ours":
                load_clip("nothing", want="sound")
            if case == "end":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"type": TypeError, "theirs": ValueError}.get(case, KeyError)("two\nlines")

    with Child(stumble) as child:
        assert "MemoryError" in child("much")
        assert child("ours") is None
        assert "SIGKILL" in child("end")
        assert "TypeError" in child("type") and "knows nothing of the user" in child("theirs")
