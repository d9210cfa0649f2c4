"""Replies in one batch: each is what it is alone, whoever joins, leaves, fails or is stopped meanwhile."""

import threading

import pytest
import torch

from clips import write_clip
from helpers import relative_error
from transformers_empathav.chat.batching import Row, until
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.shared_responder import SharedResponder
from transformers_empathav.modeling.roomy_layer_empathav import RoomyLayer


@pytest.fixture(scope="module")
def shared(responder):
    shared = SharedResponder(responder.model.config._name_or_path, device="cpu")
    yield shared
    shared.close()


@pytest.fixture
def logits(shared, monkeypatch):
    """The logits of every token of each reply, by its prompt."""
    seen, take = {}, Row.take

    def spied(row, logits):
        seen.setdefault(tuple(row.sequence[0, : row.prompt_length].tolist()), []).append(logits)
        take(row, logits)

    monkeypatch.setattr(Row, "take", spied)
    return seen


def together(*calls):
    """Results of functions that begin at the same time, each in a thread of its own."""
    results, begin = [None] * len(calls), threading.Barrier(len(calls))

    def run(place, call):
        begin.wait()
        results[place] = call()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def talk(responder, name, clips=(), turns=3):
    conversation, replies = Conversation(responder, recent_turns=2), []
    for turn in range(turns):
        heard = [clips[turn % len(clips)]] if clips and turn % 2 else []
        replies.append(conversation.say(f"{name} says {turn}" * (turn + 1), heard, max_new_tokens=5 + 3 * turn))
    return [reply.response for reply in replies], conversation


def test_a_conversation_that_left_the_batch_holds_no_more_than_it_says(shared):
    """Its keys and values are its own, without those of others and without the room of its prompt."""
    for _, conversation in together(*(lambda name=name: talk(shared, name) for name in ("Ada", "Bartholomew"))):
        layers = conversation.cache.cache.layers
        tensors = [part for layer in layers for part in (layer.keys, layer.values, *(layer.places or ()))]
        storages = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in tensors}
        assert sum(storages.values()) == conversation.cache.nbytes > 0


def test_rows_are_what_they_are_alone(shared, responder, tmp_path, logits, monkeypatch):
    monkeypatch.setattr(RoomyLayer, "room", 3)
    make = {"seconds": 1, "fps": None, "audio_codec": "pcm_s16le"}
    clips = [write_clip(tmp_path / f"{hertz}.wav", frequency=hertz, **make) for hertz in (200, 900)]
    names = ("Ada", "Bartholomew the second", "C", "Dee of the long long name", "E")
    mixed = together(*(lambda name=name: talk(shared, name, clips) for name in names))
    batched = dict(logits)
    for name, (replies, conversation) in zip(names, mixed):
        alone, single = talk(responder, name, clips)
        assert replies == alone and conversation.messages == single.messages
        assert relative_error(conversation.memory.flat(), single.memory.flat()) < 1e-4
    logits.clear()
    for name in names:
        talk(shared, name, clips)
    assert logits.keys() == batched.keys() and len(logits) == 15
    for prompt, single in logits.items():
        assert relative_error(torch.stack(batched[prompt]), torch.stack(single)) < 1e-4


def test_each_row_gets_its_own_cache_back(shared, responder):
    def turn(name):
        conversation = Conversation(shared, recent_turns=20)
        first = conversation.say(f"I am {name}", max_new_tokens=9)
        return conversation, first, conversation.say("Who am I?", max_new_tokens=5)

    for conversation, first, second in together(*(lambda name=name: turn(name) for name in ("Ada", "Bob the 3rd"))):
        assert second.tokens["cached"] >= first.tokens["prompt"]
        fresh = Conversation(responder, recent_turns=20)
        fresh.tail, fresh.emotions = list(conversation.tail), list(conversation.emotions)
        assert conversation.say("Well?", max_new_tokens=8).response == fresh.say("Well?", max_new_tokens=8).response
        held, length = conversation.cache.cache, len(conversation.cache.input_ids)
        assert held.get_seq_length() == length
        again = responder.model(input_ids=conversation.cache.input_ids[None], use_cache=True).past_key_values
        for layer, other in zip(held.layers, again.layers, strict=True):
            assert relative_error(layer.keys, other.keys) < 1e-4 and relative_error(layer.values, other.values) < 1e-4


def test_a_reply_that_is_stopped_leaves_the_others(shared, responder):
    def stopped():
        conversation = Conversation(shared)
        stream = conversation.stream("Tell me a long story", max_new_tokens=400)
        written = next(stream)
        stream.close()
        assert conversation.messages[-1]["content"] == written.rstrip()
        return conversation.say("And now?", max_new_tokens=6).response, conversation

    def whole():
        return Conversation(shared).say("Hello", max_new_tokens=40).response

    (answer, conversation), other = together(stopped, whole)
    assert other == Conversation(responder).say("Hello", max_new_tokens=40).response
    fresh = Conversation(responder)
    fresh.tail = conversation.tail[:2]
    assert answer == fresh.say("And now?", max_new_tokens=6).response
    assert not shared.batch.rows and not shared.batch.joining


@pytest.mark.parametrize("part", ["_step", "_seat", "_held"])
def test_an_error_reaches_those_whose_reply_it_ends(part, shared, monkeypatch):
    def broken(*args):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(type(shared.batch), part, broken)
        conversation = Conversation(shared)
        with pytest.raises(RuntimeError, match="could not be written"):
            conversation.say("Hello", max_new_tokens=4)
        assert len(conversation) == 0
    assert conversation.say("Hello", max_new_tokens=4).response


def test_an_error_while_a_prompt_is_read_leaves_nothing_false_behind(shared, responder, monkeypatch):
    """Some layers have read the prompt by then, and others have not."""
    conversation, alone = Conversation(shared), Conversation(responder)
    for each in (conversation, alone):
        each.say("Hello", max_new_tokens=4)

    def broken(*args, **kwargs):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="broken"):
        patch.setattr(shared.model.model.language_model.layers[-1], "forward", broken)
        conversation.say("Another message than the next one", max_new_tokens=4)
    replies = [each.say("Go on", max_new_tokens=6).response for each in (conversation, alone)]
    assert replies[0] == replies[1] and len(conversation) == len(alone) == 4
    lengths = {layer.get_seq_length() for layer in conversation.cache.cache.layers}
    assert lengths == {len(conversation.cache.input_ids)}


def test_a_closed_batch_lets_nobody_wait(responder):
    shared = SharedResponder(responder.model.config._name_or_path, device="cpu")
    stream = Conversation(shared).stream("Tell me a long story", max_new_tokens=400)
    next(stream)
    shared.close()
    with pytest.raises(RuntimeError, match="could not be written"):
        list(stream)
    with pytest.raises(RuntimeError, match="closed"):
        Conversation(shared).say("Hello")


def test_sampling_is_each_rows_own(shared):
    def say(**options):
        return Conversation(shared).say("Hello", max_new_tokens=12, **options).response

    sampled = {"do_sample": True, "temperature": 5.0}
    calls = [lambda seed=seed: say(seed=seed, **sampled) for seed in (1, 1, 2)]
    one, same, other, greedy = together(*calls, say)
    assert one == same == say(seed=1, **sampled) != other
    assert greedy == say() == say(do_sample=True, top_p=1e-6, seed=3)
    with pytest.raises(ValueError, match="num_beams"):
        say(num_beams=2)


def test_a_stop_text_ends_the_reply_and_is_not_in_it(shared):
    whole = Conversation(shared).say("Hello", max_new_tokens=30).response
    stop = whole[6:9]
    conversation = Conversation(shared)
    reply = conversation.say("Hello", max_new_tokens=30, stop=["never said", stop])
    assert reply.response == whole[: whole.find(stop)].rstrip()
    assert reply.ended == "stop" and reply.tokens["reply"] < 30
    assert conversation.messages[-1]["content"] == reply.response


@pytest.mark.parametrize(
    "pieces, stops, expected",
    [
        (["ab", "cd"], [], "abcd"),
        (["ab", "cd", "ef"], ["cd"], "ab"),
        (["a", "b", "c", "d"], ["bc"], "a"),
        (["aab", "x"], ["abc", "bx"], "aa"),
        (["ab"], ["bc"], "ab"),
        (["x", "ENDE", "y"], ["END", "xE"], ""),
    ],
)
def test_pieces_end_at_the_first_stop(pieces, stops, expected):
    assert "".join(until(pieces, stops)) == expected


@pytest.mark.parametrize("name", ["encode_history", "apply_chat_template"])
def test_the_tokenizer_is_used_by_one_thread_at_a_time(shared, name):
    message, free = {"role": "user", "content": "Hello"}, threading.Event()
    thread = threading.Thread(target=getattr(shared.processor, name), args=([message],))
    busy = threading.Thread(target=shared.thread, args=(free.wait,))
    busy.start()
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    free.set()
    thread.join()
    busy.join()
