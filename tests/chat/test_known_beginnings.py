"""Known beginnings: what is computed for a history that was seen, what stays, and what other replicas go on with."""

import threading

import fsspec
import pytest

from helpers import relative_error
from transformers_empathav.chat.addresses import check_address
from transformers_empathav.chat.answering import Answerer
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.known_beginnings import KnownBeginnings, first_key, next_key
from transformers_empathav.chat.shared_responder import SharedResponder
from transformers_empathav.chat.state_store import StateStore
from transformers_empathav.processing.media_limits_empathav import MediaLimits
from transformers_empathav.processing.messages_empathav import MediaPart, Turn


@pytest.fixture(scope="module")
def shared(responder):
    shared = SharedResponder(responder.model.config._name_or_path, device="cpu")
    yield shared
    shared.close()


def answerer(shared, max_bytes=2**30, store=None) -> Answerer:
    return Answerer(shared, KnownBeginnings(shared, max_bytes, store), MediaLimits())


def answer(desk, messages, **options):
    *_, reply = desk.stream(desk.begin(messages), **{"max_new_tokens": 6, **options})
    return reply


def talk(desk, turns, name="Ada", messages=()):
    """Goes on as a client that resends all."""
    messages, replies = list(messages), []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{name} says {turn}"})
        replies.append(answer(desk, messages))
        messages.append({"role": "assistant", "content": replies[-1].response})
    return messages, replies


@pytest.fixture
def work(shared, monkeypatch):
    """Positions that the language model and the compressor computed."""
    done = {"language model": 0, "compressor": 0}
    for name, part in (("language model", shared.model.model.language_model), ("compressor", shared.model.model)):
        method = "forward" if name == "language model" else "compress"
        function = getattr(part, method)

        def counted(*args, _name=name, _function=function, **kwargs):
            given = kwargs["inputs_embeds"] if _name == "language model" else args[0]
            done[_name] += given.shape[1]
            return _function(*args, **kwargs)

        monkeypatch.setattr(part, method, counted)
    return done


def test_a_long_history_that_is_resent_costs_what_a_short_one_costs(shared, work):
    desk = answerer(shared)
    earlier = [{"role": role, "content": f"It is {n:03}."} for n in range(200) for role in ("user", "assistant")]
    messages, _ = talk(desk, 1, messages=earlier)
    work.update(dict.fromkeys(work, 0))
    talk(desk, 4, messages=messages)
    long = dict(work)
    desk = answerer(shared)
    messages, _ = talk(desk, 1, messages=earlier[:8])
    work.update(dict.fromkeys(work, 0))
    talk(desk, 4, messages=messages)
    # Replies differ in length. What was computed for the long memory alone would be three times as much.
    assert 0 < long["compressor"] < 1.5 * work["compressor"]
    assert 0 < long["language model"] < 1.5 * work["language model"]
    assert shared.model.config.memory_tokens_per_utterance * len(earlier) > work["language model"]
    assert answerer(shared).begin([*earlier, {"role": "user", "content": "x"}]).known == 0


def test_a_history_read_anew_is_the_one_that_was_gone_on_with(shared):
    messages, replies = talk(answerer(shared), 6)
    fresh = answerer(shared)
    begun = fresh.begin([*messages, {"role": "user", "content": "Well?"}])
    assert begun.known == 0 and len(begun.conversation) == 12
    assert len(begun.conversation.tail) == replies[-1].verbatim
    assert relative_error(begun.conversation.memory.flat(), replies[-1].memory.flat()) < 1e-4


def test_many_messages_are_read_as_few_at_a_time_are(shared, responder):
    messages = [{"role": role, "content": f"{role} says {n}"} for n in range(50) for role in ("user", "assistant")]
    begun = answerer(shared).begin([*messages, {"role": "user", "content": "Well?"}])
    whole = Conversation(responder, messages)
    assert len(begun.conversation) == len(whole) == 100
    pieces = Conversation(responder)
    for message in messages:
        pieces.add([message])
    pieces.compress(), whole.compress(), begun.conversation.compress()
    for one in (pieces, begun.conversation):
        assert relative_error(one.memory.flat(), whole.memory.flat()) < 1e-4


def test_two_that_go_on_from_the_same_beginning_have_their_own(shared):
    desk = answerer(shared)
    messages, _ = talk(desk, 2)
    replies, begin = {}, threading.Barrier(3)

    def go_on(name):
        begin.wait()
        replies[name] = talk(desk, 3, name, messages)[1]

    threads = [threading.Thread(target=go_on, args=(name,)) for name in ("one", "other", "third")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, found in replies.items():
        alone = answerer(shared)
        again = talk(alone, 3, name, talk(alone, 2)[0])[1]
        assert [reply.response for reply in found] == [reply.response for reply in again]


def test_a_beginning_shares_the_cache_of_what_goes_on_from_it(shared, work):
    desk = answerer(shared)
    messages, _ = talk(desk, 2)
    work["language model"] = 0
    assert answer(desk, messages[:-1]).tokens["cached"] > 0  # the last answer once more
    caches = {id(conversation.cache) for conversation in desk.beginnings._known.values()}
    assert len(caches) < len(desk.beginnings)


def test_what_was_used_longest_ago_leaves_by_bytes(shared):
    desk = answerer(shared)
    talk(desk, 3)
    size, ledger = desk.beginnings.nbytes, desk.beginnings._ledger
    assert size > 0
    small = answerer(shared, max_bytes=size)
    for name in ("Ada", "Bob", "Cem"):
        messages, _ = talk(small, 3, name)
        assert 0 < small.beginnings.nbytes <= size
    assert small.begin([*messages, {"role": "user", "content": "x"}]).known == 6
    assert small.begin([*talk(answerer(shared), 3)[0], {"role": "user", "content": "x"}]).known < 6
    for key in list(desk.beginnings._known):
        desk.beginnings._remove(key)
    assert desk.beginnings.nbytes == 0 and not ledger._holders
    nothing = answerer(shared, max_bytes=0)
    talk(nothing, 2)
    assert len(nothing.beginnings) == 0


def test_keys_are_of_all_that_was_said():
    first = first_key("f", None)
    turns = [
        Turn("user", ["ab"]),
        Turn("assistant", ["ab"]),
        Turn("user", ["a", "b"]),
        Turn("user", [MediaPart("audio", b"ab")]),
        Turn("user", [MediaPart("video", b"ab")]),
        Turn("user", [MediaPart("audio", b"ab"), "x"]),
        Turn("user", []),
    ]
    assert len({next_key(first, turn) for turn in turns}) == len(turns)
    assert next_key(first, turns[0]) != next_key(next_key(first, turns[0]), turns[0])
    assert first != first_key("f", "") != first_key("f", "None")
    assert next_key(first, Turn("user", ["ab"])) == next_key(first, turns[0])


@pytest.mark.parametrize("address", ["memory://states", "{folder}/states"])
def test_another_replica_goes_on_out_of_the_store(address, shared, tmp_path):
    address = address.format(folder=tmp_path)
    messages, replies = talk(answerer(shared, store=StateStore(address)), 5)
    asked = [*messages, {"role": "user", "content": "Well?"}]
    other = answerer(shared, store=StateStore(address))
    assert other.begin(asked).known == 10
    assert answer(other, asked).response == answer(answerer(shared), asked).response
    edited = [*messages[:6], {"role": "user", "content": "No!"}]
    assert answerer(shared, store=StateStore(address)).begin(edited).known == 6
    files = other.beginnings.store.files
    for path in files.ls(other.beginnings.store.root, detail=False):
        files.pipe_file(path, files.cat_file(path)[:-9])  # damaged: read anew
    assert answerer(shared, store=StateStore(address)).begin(asked).known == 0


def test_what_is_old_leaves_the_store(shared, tmp_path):
    talk(answerer(shared, store=StateStore(str(tmp_path))), 2)
    assert len(list(tmp_path.iterdir())) == 2
    StateStore(str(tmp_path), days=1.0).sweep()
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "notes.txt").write_text("not ours")
    StateStore(str(tmp_path), days=0.0).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_that_fails_costs_no_reply(shared, tmp_path, monkeypatch):
    store = StateStore(str(tmp_path))

    def fail(*args, **kwargs):
        raise PermissionError("no")

    for name in ("pipe_file", "cat_file"):
        monkeypatch.setattr(store.files, name, fail)
    assert talk(answerer(shared, store=store), 2)[1][-1].response
    with pytest.raises(ValueError, match="cannot be opened"):
        StateStore("nosuch://x")
    assert fsspec.url_to_fs(str(tmp_path))[1] == str(tmp_path)


@pytest.mark.parametrize(
    "url, allowed, said",
    [
        ("https://example.com/x.wav", True, None),
        ("http://8.8.8.8/x.wav", True, None),
        ("https://example.com/x.wav", False, "not fetched"),
        ("http://localhost/x", True, "private"),
        ("http://LOCALHOST:80/x", True, "private"),
        ("http://127.0.0.1/x", True, "private"),
        ("http://[::1]/x", True, "private"),
        ("http://[::ffff:10.0.0.1]/x", True, "private"),
        ("http://169.254.169.254/latest", True, "private"),
        ("http://[bad", True, "cannot be read"),
        ("file:///etc/passwd", True, "no data URI"),
        ("/etc/passwd", True, "no data URI"),
        ("s3://bucket/x", True, "no data URI"),
        ("", True, "no data URI"),
    ],
)
def test_which_addresses_a_visitor_may_name(url, allowed, said):
    if said is None:
        check_address(url, "Message 1", allowed)
    else:
        with pytest.raises(ValueError, match=said):
            check_address(url, "Message 1", allowed)
