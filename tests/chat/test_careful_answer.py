"""Who answers: fixed words where a danger is found or in doubt, else the language model, which is watched."""

import pytest
import torch

from helpers import writes
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.message import Message
from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.safety import CAREFUL, CHECK, SENDS_TO, SafetyLexicon, cheerful
from transformers_empathav.chat.shared_responder import SharedResponder
from transformers_empathav.checkpoint.danger_reading import DangerReading, newest_message


def test_where_a_danger_is_found_the_answer_is_careful(responder, monkeypatch):
    """In turn, as part of the conversation, and the language model goes on after it as if it had been its own."""
    conversation = Conversation(responder)
    replies = [conversation.say("I want to kill myself.") for _ in range(4)]
    assert [reply.response for reply in replies] == [*CAREFUL, CAREFUL[-1]] and replies[0].tokens["reply"] > 20
    assert not any(SafetyLexicon()(text) for text in CAREFUL) and all(SENDS_TO.search(text) for text in CAREFUL)
    answered = conversation.say("Thank you.")
    assert answered.response == CAREFUL[-1] and answered.safety.kind == "suicide"  # it answers the question
    after = conversation.say("Thank you.", max_new_tokens=8)
    assert after.response not in CAREFUL and after.safety is None
    assert [said["content"] for said in conversation.messages][-4:-1] == ["Thank you.", CAREFUL[-1], "Thank you."]
    monkeypatch.setattr(responder, "careful", ())
    assert Conversation(responder).say("I want to kill myself.", max_new_tokens=4).response not in CAREFUL


class Finds:
    """Stands in for a [`DangerReading`]: cats are a danger, dogs may be one."""

    settings = {"layer": 1, "threshold": 2.0, "doubt": 1.0}

    def score(self, model, processor, text):
        return 2.0 * ("cat" in text) + 1.0 * ("dog" in text)


class Looks:
    """Stands in for a [`Watch`] of it."""

    def __init__(self, responder, input_ids):
        self.tokens = newest_message(responder.model.config, input_ids[0].tolist())
        self.text = responder.processor.tokenizer.decode(input_ids[0, -self.tokens :])
        self.score = None

    def __call__(self, read, *args, **kwargs):
        self.score = Finds().score(None, None, self.text)
        return read(*args, **kwargs)


@pytest.fixture
def finding(responder, monkeypatch):
    monkeypatch.setattr(responder, "danger", Finds())
    monkeypatch.setattr(responder, "watch", lambda input_ids: Looks(responder, input_ids))


def test_what_the_states_say_counts_where_the_lexicon_finds_nothing(responder, finding):
    conversation = Conversation(responder)
    reply = conversation.say("I gave my cat away.")
    assert reply.safety.kind == "danger" and reply.response == CAREFUL[0]
    answer = conversation.say("And my fish.")  # none by itself, but it answers the question
    assert answer.safety.kind == "danger" and answer.response == CAREFUL[1]
    after = conversation.say("It is blue.", max_new_tokens=4)
    assert after.safety is None and after.response not in CAREFUL
    assert conversation.say("I want to kill myself.").safety.kind == "suicide"
    assert Conversation(responder).say("I gave my mouse a bath.", max_new_tokens=4).safety is None


@pytest.mark.parametrize(
    "reply, kept",
    [
        ("How nice! Where does it live now?", False),
        ("How nice", False),
        ("Oh no. What a great dog it was.", True),
        ("Where is it now?", True),
        ("I am glad you told me. Why?", True),
    ],
)
def test_no_cheerful_reply_is_given_to_what_may_be_a_danger(responder, monkeypatch, finding, reply, kept):
    monkeypatch.setattr(responder, "write", writes(*reply.split(" ")))
    *pieces, answer = Conversation(responder).stream("I gave my dog away.")
    assert "".join(pieces) == answer.response == (reply if kept else CHECK) and answer.safety is None
    assert Conversation(responder).say("I gave my mouse away.").response == reply
    for careful, instead in (((), reply), (("Stay.",), "Stay.")):
        mine = Responder(responder.model.name_or_path, device="cpu", careful=careful)
        monkeypatch.setattr(mine, "danger", Finds())
        monkeypatch.setattr(mine, "write", responder.write)
        assert Conversation(mine).say("I gave my dog away.").response == (reply if kept else instead)
    assert not cheerful(CHECK) and SafetyLexicon()(CHECK) is None


def test_of_a_reply_in_doubt_the_first_sentence_alone_is_held_back(responder, monkeypatch, finding):
    monkeypatch.setattr(responder, "write", writes("Where", "is", "it?", "Do", "you", "know?"))
    pieces = list(Conversation(responder).stream("I gave my dog away."))[:-1]
    assert pieces == ["Where is it? Do", " you", " know?"]


# With a reading of the real kind, of random weights.


@pytest.fixture
def reading(responder, monkeypatch):
    torch.manual_seed(0)
    made = DangerReading(responder.model.config.text_config.hidden_size, 1, threshold=1e9, doubt=1e8).eval()
    made.mean.normal_()
    made.scale.uniform_(0.5, 2)
    monkeypatch.setattr(responder, "danger", made)
    return made


@pytest.fixture
def scores(monkeypatch):
    """Of the newest message of each turn, and of the same prompt without any cache."""
    seen, find = [], Responder.find_danger

    def spied(responder, text, score=None):
        seen.append(score)
        return find(responder, text, score)

    monkeypatch.setattr(Responder, "find_danger", spied)
    return seen


def alone(responder, reading, conversation, text: str) -> float:
    """The score of a message by one pass over the whole prompt."""
    inputs = conversation.fork()._prompt(Message("user", text), 8)
    watch = responder.watch(inputs["input_ids"])
    memory = inputs.pop("memory", None)
    watch(responder.model, **inputs, **({} if memory is None else {"memory": memory}))
    return watch.score


SAID = ("My dog ran off.", "She is three.", "We looked at the pond.", "No.", "I could not sleep.", "It rains.")


def test_watched_in_the_reply_is_read_alone(responder, reading, scores):
    """Turn after turn: behind a cache, a memory, an interruption, and where the same prompt comes again."""
    conversation = Conversation(responder, recent_turns=2)
    for text in SAID:
        expected = alone(responder, reading, conversation, text)
        stream = conversation.fork().stream(text, max_new_tokens=4)
        next(stream)
        stream.close()
        conversation.say(text, max_new_tokens=4)
        assert scores[-2:] == pytest.approx([expected] * 2, abs=1e-4)
    assert conversation.memory.num_utterances and len(set(scores)) == len(SAID)
    again = Conversation(responder, messages=conversation.messages[:-2])
    again.say(SAID[-1], max_new_tokens=4)
    again.tail, first = again.tail[:-2], scores[-1]
    again.say(SAID[-1], max_new_tokens=4)
    assert scores[-1] == pytest.approx(first, abs=1e-4)


def test_nobody_looks_on_where_words_were_enough(responder, reading, scores):
    assert Conversation(responder).say("I want to kill myself.").response == CAREFUL[0]
    assert scores == []


def test_in_a_batch_as_alone(responder, reading, scores):
    shared = SharedResponder(responder.model.name_or_path, device="cpu")
    shared.danger = reading
    try:
        for text in SAID[:2]:
            Conversation(shared).say(text, max_new_tokens=4)
            assert scores[-1] == pytest.approx(alone(responder, reading, Conversation(responder), text), abs=1e-4)
    finally:
        shared.close()


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"prompt_lookup_num_tokens": 2}])
def test_where_tokens_come_several_at_once_it_is_read_by_itself(responder, reading, scores, options):
    Conversation(responder).say(SAID[0], max_new_tokens=4, **options)
    assert scores == [None]


def test_a_danger_that_the_states_tell_is_answered_with_care(responder, reading):
    reading.settings.update(threshold=-1e9, doubt=-1e9)
    conversation = Conversation(responder)
    pieces = list(conversation.stream(SAID[0], max_new_tokens=8))
    assert pieces[:-1] == [CAREFUL[0]] and pieces[-1].safety.kind == "danger"
    reading.settings.update(threshold=1e9, doubt=1e8)
    conversation.tail = conversation.tail[:-2]
    as_if_never = Conversation(responder).say(SAID[1], max_new_tokens=8)
    assert conversation.say(SAID[1], max_new_tokens=8).response == as_if_never.response
