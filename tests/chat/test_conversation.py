"""Conversation: what is remembered and how, the cache, what goes wrong in the middle, and forgetting."""

import json

import pytest
import torch

from clips import write_clip
from helpers import relative_error
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.reply import Reply


class Spy:
    """Keeps the logits of each reply, and how many positions the language model computed for it."""

    def __init__(self, model, monkeypatch):
        self.logits, self.computed, self.work, generate = [], [], 0, model.generate
        language_model = model.model.language_model
        forward = language_model.forward

        def counted(**kwargs):
            self.work += kwargs["inputs_embeds"].shape[1]
            return forward(**kwargs)

        def spied(**kwargs):
            self.work, seen = 0, []

            def note(input_ids, scores):
                seen.append(scores.nan_to_num(neginf=0.0))
                return scores

            try:
                yield from generate(**kwargs, logits_processor=[note])
            finally:
                self.computed.append(self.work)
                self.logits.append(torch.stack(seen) if seen else None)

        monkeypatch.setattr(language_model, "forward", counted)
        monkeypatch.setattr(model, "generate", spied)


@pytest.fixture
def spy(responder, monkeypatch):
    return Spy(responder.model, monkeypatch)


@pytest.fixture
def clips(tmp_path):
    make = {"seconds": 1, "fps": None, "audio_codec": "pcm_s16le"}
    return [write_clip(tmp_path / f"{hertz}.wav", frequency=hertz, **make) for hertz in (200, 900, 3000)]


def talk(conversation, clips, turns=7):
    """Turns of words alone, of clips, and of both."""
    for turn in range(turns):
        clip = [clips[turn % 3]] if turn % 3 else []
        yield conversation.say(f"Line {turn}, and a word more", clip, max_new_tokens=6)


def anew(conversation, said, **options):
    """The same conversation computed from what was said, without cache and without earlier calls."""
    fresh = Conversation(conversation.responder, recent_turns=conversation.recent_turns, **options)
    tail = len(conversation.tail)
    older = said[: len(said) - tail]
    if older:
        fresh.memory = fresh._read(fresh.memory, older)
    fresh.tail = list(conversation.tail)
    return fresh


def test_the_tail_rolls_and_nothing_is_lost(responder, clips):
    conversation = Conversation(responder, recent_turns=2)
    sizes = []
    for turn, reply in enumerate(talk(conversation, clips), 1):
        assert len(conversation) == 2 * turn == reply.memory.num_utterances + reply.verbatim
        assert reply.to_dict()["memory"]["utterances"] == 2 * turn
        sizes.append(reply.verbatim)
    assert sizes == [2, 2, 2, 2, 2, 2, 2]
    assert [message["role"] for message in conversation.messages] == ["user", "assistant"]
    longer = Conversation(responder, recent_turns=4)
    assert [reply.verbatim for reply in talk(longer, clips)] == [2, 4, 6, 4, 6, 4, 6]


def test_every_turn_is_what_it_is_without_cache_and_roll(responder, clips, spy):
    conversation, said = Conversation(responder, recent_turns=2), []
    for turn in range(6):
        clip = [clips[turn % 3]] if turn % 3 else []
        fresh = anew(conversation, said)
        reply = conversation.say(f"Line {turn}", clip, max_new_tokens=6)
        again = fresh.say(f"Line {turn}", clip, max_new_tokens=6)
        assert relative_error(spy.logits[-2], spy.logits[-1]) < 1e-4 and reply.response == again.response
        felt = reply.reading if reply.reading in (reply.emotion or ()) else None
        asked = {"role": "user", "content": f"Line {turn}"} | ({"emotion": felt} if felt else {})
        said += [asked, {"role": "assistant", "content": reply.response}]


def test_an_ordinary_turn_reads_what_is_new(responder, clips, spy):
    conversation = Conversation(responder, recent_turns=20)
    replies = list(talk(conversation, clips, 4))
    prompts = [reply.tokens["prompt"] for reply in replies]
    for before, reply, computed in zip(replies, replies[1:], spy.computed[1:]):
        new = reply.tokens["prompt"] - before.tokens["prompt"]
        assert computed <= new + reply.tokens["reply"] + 8  # the last tokens of the reply may be cut otherwise
        assert reply.tokens["cached"] >= before.tokens["prompt"]
    assert prompts == sorted(prompts)


def test_pieces_are_the_reply_and_the_reply_comes_last(responder, clips):
    *pieces, reply = Conversation(responder).stream("Hello", clips[:1], max_new_tokens=12)
    assert isinstance(reply, Reply) and "".join(pieces) == reply.response
    assert reply.response == Conversation(responder).say("Hello", clips[:1], max_new_tokens=12).response
    assert 0 < reply.tokens["reply"] <= 12


def test_two_conversations_in_turns_are_each_alone(responder, clips):
    one, other = Conversation(responder, recent_turns=2), Conversation(responder, recent_turns=2)
    mixed = [(a.response, b.response) for a, b in zip(talk(one, clips, 4), talk(other, clips[::-1], 4))]
    alone = [
        [reply.response for reply in talk(Conversation(responder, recent_turns=2), order, 4)]
        for order in (clips, clips[::-1])
    ]
    assert [list(replies) for replies in zip(*mixed)] == alone


def test_a_reply_that_is_stopped_is_kept_as_far_as_it_came(responder, spy):
    conversation = Conversation(responder)
    conversation.say("Hello", max_new_tokens=4)
    stream = conversation.stream("Tell me a long story", max_new_tokens=64)
    written = next(stream)
    stream.close()
    assert conversation.messages[-1]["content"] == written.strip() and len(conversation) == 4
    fresh = anew(conversation, conversation.messages)
    conversation.say("Go on", max_new_tokens=6)
    fresh.say("Go on", max_new_tokens=6)
    assert relative_error(spy.logits[-2], spy.logits[-1]) < 1e-4


@pytest.mark.parametrize("passes", [0, 25])
def test_a_reply_that_is_interrupted_within_a_pass_leaves_nothing_false_behind(passes, responder, monkeypatch, spy):
    """As Ctrl-C does: some layers have read the token, and others have not."""
    conversation, layer = Conversation(responder), responder.model.model.language_model.layers[-1]
    conversation.say("Hello", max_new_tokens=4)
    forward, left = layer.forward, [passes]

    def interrupted(*args, **kwargs):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return forward(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(layer, "forward", interrupted)
        conversation.say("Tell me a long story", max_new_tokens=64)
    assert len(conversation) in ((2, 4) if passes else (2,))  # words that are not final yet are not kept
    fresh = anew(conversation, conversation.messages)
    conversation.say("Go on", max_new_tokens=6)
    fresh.say("Go on", max_new_tokens=6)
    assert relative_error(spy.logits[-2], spy.logits[-1]) < 1e-4


def test_a_stopped_reply_stops_the_work(responder, monkeypatch):
    threads = set(__import__("threading").enumerate())
    stream = Conversation(responder).stream("Tell me a long story", max_new_tokens=200)
    next(stream)
    stream.close()
    assert set(__import__("threading").enumerate()) == threads


@pytest.mark.parametrize("part", ["get_av_features", "generate", "predict_emotion"])
def test_after_an_error_the_turn_has_not_taken_place(part, responder, clips, monkeypatch, spy):
    conversation = Conversation(responder, recent_turns=2)
    list(talk(conversation, clips, 3))
    before = conversation.messages, conversation.memory, list(conversation.emotions)

    def fail(*args, **kwargs):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(responder.model, part, fail)
        with pytest.raises(RuntimeError, match="broken"):
            conversation.say("And now?", clips[:1])
    assert (conversation.messages, conversation.memory, conversation.emotions) == before
    fresh = anew(conversation, [])
    fresh.memory = conversation.memory
    conversation.say("And now?", clips[:1], max_new_tokens=6)
    fresh.say("And now?", clips[:1], max_new_tokens=6)
    assert relative_error(spy.logits[-2], spy.logits[-1]) < 1e-4


def test_what_does_not_fit_word_by_word_is_compressed(responder, monkeypatch, caplog):
    conversation = Conversation(responder, recent_turns=8)
    for _ in range(3):
        conversation.say("A rather long message. " * 4, max_new_tokens=6)
    assert len(conversation.tail) == 6
    prompt = conversation.say("Short", max_new_tokens=4).tokens["prompt"]
    reserved = responder.processor.reply_tokens
    monkeypatch.setattr(responder, "positions", prompt + reserved - 40)
    reply = conversation.say("Again", max_new_tokens=4)
    assert len(conversation) == 10 and reply.verbatim < 10
    with pytest.raises(ValueError, match="shorten it"):
        conversation.say("much too long " * 400, max_new_tokens=4)
    with pytest.raises(ValueError, match="positions"):
        conversation.say("Hello", max_new_tokens=10**6)
    assert len(conversation) == 10


def test_earlier_messages_come_in_with_their_clips(responder, clips):
    earlier = [
        {"role": "system", "content": "Be brief."},
        *({"role": role, "content": f"{role} {n}"} for n in range(4) for role in ("user", "assistant")),
        {"role": "user", "content": [{"type": "audio", "path": str(clips[0])}, {"type": "text", "text": "Listen"}]},
        {"role": "assistant", "content": "I do."},
    ]
    conversation = Conversation(responder, earlier, recent_turns=2)
    assert conversation.system == "Be brief." and len(conversation) == 10 and len(conversation.tail) == 2
    assert conversation.tail[0].vectors is not None
    other = Conversation(responder, earlier[:-2], recent_turns=2)
    other.add([{"role": "user", "content": "Listen"}, earlier[-1]])
    first, second = (talk.say("Well?", max_new_tokens=6).response for talk in (conversation, other))
    assert len(other) == 12 and first != second  # one of them heard the clip
    with pytest.raises(ValueError, match="unknown role"):
        other.add([{"role": "nobody", "content": "x"}])


@pytest.mark.parametrize("recent_turns", [1, 2, 3])
def test_what_is_added_is_as_if_it_had_been_said(responder, recent_turns):
    conversation, said = Conversation(responder, recent_turns=recent_turns), []
    for turn in range(8):
        reply = conversation.say(f"Line {turn}", max_new_tokens=4)
        said += [{"role": "user", "content": f"Line {turn}"}, {"role": "assistant", "content": reply.response}]
        added = Conversation(responder, said, recent_turns=recent_turns)
        assert added.messages == conversation.messages
        one, other = added.memory, conversation.memory
        assert one.num_utterances == other.num_utterances
        assert not other.num_utterances or relative_error(one.flat(), other.flat()) < 1e-4


def test_forgetting_the_newest_words_leaves_no_trace(responder, clips, spy):
    conversation, plain = Conversation(responder), Conversation(responder)
    conversation.add([{"role": "user", "content": "One."}, {"role": "assistant", "content": "I see."}])
    plain.add([{"role": "user", "content": "One."}, {"role": "assistant", "content": "I see."}])
    conversation.say("My secret", clips[:1], max_new_tokens=4)
    conversation.forget(2, 3)
    assert conversation.messages == plain.messages and conversation.emotions == []
    conversation.say("Well?", max_new_tokens=6)
    plain.say("Well?", max_new_tokens=6)
    assert relative_error(spy.logits[-2], spy.logits[-1]) < 1e-4


def test_with_a_transcript_forgetting_is_exact(responder):
    lines = [{"role": role, "content": f"{role} says {n}"} for n in range(4) for role in ("user", "assistant")]
    conversation = Conversation(responder, lines, recent_turns=2, keep_transcript=True)
    conversation.forget(2, 3, 7)
    kept = [line for turn, line in enumerate(lines) if turn not in (2, 3, 7)]
    assert conversation.transcript == kept and len(conversation) == 5
    expected = conversation._read(responder.model.empty_memory(), kept[: conversation.memory.num_utterances])
    assert relative_error(conversation.memory.vectors, expected.vectors) < 1e-5
    assert relative_error(conversation.memory.state.ssm, expected.state.ssm) < 1e-5


def test_without_a_transcript_the_vectors_are_dropped(responder):
    lines = [{"role": role, "content": f"{role} says {n}"} for n in range(4) for role in ("user", "assistant")]
    conversation = Conversation(responder, lines, recent_turns=2)
    before, size = conversation.memory, conversation.memory.vectors_per_utterance
    conversation.forget(1)
    after = conversation.memory
    assert after.num_utterances == before.num_utterances - 1 and after.merged_utterances == 0
    assert torch.equal(after.vectors[0, :size], before.vectors[0, :size])
    assert torch.equal(after.vectors[0, size:], before.vectors[0, 2 * size :])
    conversation.say("Well?", max_new_tokens=4)
    with pytest.raises(ValueError, match="no message 99"):
        conversation.forget(99)


def test_merged_messages_are_forgotten_together(responder, model):
    lines = [{"role": role, "content": f"{role} says {n}"} for n in range(6) for role in ("user", "assistant")]
    size = model.config.memory_tokens_per_utterance
    memory = responder.model.empty_memory(max_vectors=4 * size)
    conversation = Conversation(responder, lines, memory=memory, recent_turns=2)
    merged = conversation.memory.spans()[0].tolist()[0]
    assert merged > 1
    with pytest.raises(ValueError, match="shares its vectors"):
        conversation.forget(0)
    conversation.forget(*range(merged))
    assert len(conversation) == 12 - merged


def test_emotions_of_all_turns_are_kept_with_their_numbers(responder, clips):
    conversation = Conversation(responder, recent_turns=2)
    replies = list(talk(conversation, clips, 4))
    assert [felt["turn"] for felt in conversation.emotions] == [2, 4]  # the others were words alone
    assert [felt["scores"] for felt in conversation.emotions] == [reply.emotion for reply in replies[1:3]]
    assert replies[0].emotion is None and replies[0].to_dict()["emotion"] is None
    conversation.forget(0, 1)
    assert [felt["turn"] for felt in conversation.emotions] == [0, 2]
    conversation.read_words = True
    reply = conversation.say("I am so happy", max_new_tokens=4)
    assert sum(reply.emotion.values()) == pytest.approx(1, abs=1e-5) and reply.reading is None
    assert [felt["turn"] for felt in conversation.emotions] == [0, 2, 6]


def test_a_seed_makes_a_sampled_reply_repeatable(responder):
    sampled = {"do_sample": True, "temperature": 5.0, "max_new_tokens": 12}
    replies = [Conversation(responder).say("Hello", seed=seed, **sampled).response for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]


def test_beams_write_in_one_piece(responder):
    *pieces, reply = Conversation(responder).stream("Hello", num_beams=2, max_new_tokens=6)
    assert len(pieces) <= 1 and reply.response == "".join(pieces)
    with pytest.raises(ValueError, match="A reply is one"):
        Conversation(responder).say("Hello", num_return_sequences=2)


def test_nothing_to_answer_is_said(responder):
    with pytest.raises(ValueError, match="nothing to answer"):
        Conversation(responder).say("  ")
    with pytest.raises(ValueError, match="recent_turns"):
        Conversation(responder, recent_turns=0)
    with pytest.raises(ValueError, match="keep_transcript"):
        memory = Conversation(responder, [{"role": "user", "content": "Hello"}])
        memory.compress()
        Conversation(responder, memory=memory.memory, keep_transcript=True)


def test_a_reply_is_plain_data(responder):
    assert json.loads(json.dumps(Conversation(responder).say("Hello", max_new_tokens=4).to_dict()))
