"""The server, through the official client: what it answers, what it refuses, and what it keeps apart."""

import base64
import json
import threading
import urllib.request

import numpy as np
import openai
import pytest
from PIL import Image

from clips import write_clip
from transformers_empathav.chat.conversation import Conversation


pytest.importorskip("fastapi", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
from serving import SECRET, ask, extra, figures, served, talk, user  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(responder) -> str:
    return responder.model.config._name_or_path


@pytest.fixture(scope="module")
def server(checkpoint):
    with served(checkpoint, "--name", "tiny") as server:
        yield server
        assert server.process.poll() is None
        server.terminate()
        log = server.ended()
        assert SECRET not in log and "Traceback" not in log, log


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return server.client()


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("clips") / "clip.wav"
    return write_clip(path, seconds=1, fps=None, audio_codec="pcm_s16le").read_bytes()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=1).read_bytes()


def uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_it_answers_as_a_conversation_in_this_process(client, responder):
    answer = ask(client, {"role": "system", "content": "Be kind."}, user(f"Hello {SECRET}"))
    reply = Conversation(responder, system="Be kind.").say(f"Hello {SECRET}", max_new_tokens=8)
    assert answer.choices[0].message.content == reply.response and answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == reply.tokens["prompt"] and answer.usage.completion_tokens == 8
    found = extra(answer)
    assert found["emotion"] is None and reply.emotion is None  # words alone
    assert found["memory"]["utterances"] == 2 and found["heard"] is None
    assert answer.model == "tiny" and answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")


def test_clips_of_all_kinds_are_heard(client, responder, sound, film, tmp_path):
    encoded, photo = base64.b64encode(sound).decode(), tmp_path / "photo.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(photo)
    parts = [
        {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": uri("audio/wav", sound)}},
        {"type": "video_url", "video_url": {"url": uri("video/mp4", film)}},
        {"type": "image_url", "image_url": {"url": uri("image/png", photo.read_bytes())}},
    ]
    answers = [ask(client, user([part, {"type": "text", "text": "Well?"}])) for part in parts]
    assert extra(answers[0]) == extra(answers[1]) and answers[0].choices == answers[1].choices
    for answer, clip in zip(answers[1:], (sound, film, photo.read_bytes())):
        reply = Conversation(responder).say("Well?", [clip], max_new_tokens=8)
        assert answer.choices[0].message.content == reply.response
        assert extra(answer)["emotion"]["reading"] == reply.reading and extra(answer)["heard"] == "Well?"
    assert len({str(extra(answer)["emotion"]["scores"]) for answer in answers}) == 3
    alone = ask(client, user([parts[0]]))  # there is no recogniser, so no words
    assert extra(alone)["heard"] == ""


def test_a_stream_is_the_answer_in_pieces(client):
    options = {"max_tokens": 60, "temperature": 1.5, "seed": 5}
    whole = ask(client, user("Tell me"), **options)
    *pieces, last = ask(client, user("Tell me"), stream=True, stream_options={"include_usage": True}, **options)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole.choices[0].message.content
    assert pieces[0].choices[0].delta.role == "assistant" and len(pieces) > 3
    assert [piece.choices[0].finish_reason for piece in pieces][-2:] == [None, whole.choices[0].finish_reason]
    assert last.choices == [] and last.usage.total_tokens == whole.usage.total_tokens
    assert extra(pieces[-1])["emotion"] == extra(whole)["emotion"]
    assert all(piece.usage is None for piece in ask(client, user("Tell me"), stream=True))


def test_several_choices_are_each_their_own(client):
    options = {"n": 3, "temperature": 2.0, "seed": 1, "max_tokens": 12}
    answer = ask(client, user("Hello"), **options)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3 and [choice.index for choice in answer.choices] == [0, 1, 2]
    assert texts == [choice.message.content for choice in ask(client, user("Hello"), **options).choices]
    assert texts[0] == ask(client, user("Hello"), **options | {"n": 1}).choices[0].message.content
    streamed = ["", "", ""]
    for piece in ask(client, user("Hello"), stream=True, **options):
        streamed[piece.choices[0].index] += piece.choices[0].delta.content or ""
    assert streamed == texts


def test_a_stop_ends_the_answer(client):
    whole = ask(client, user("Hello"), max_tokens=30).choices[0].message.content
    answer = ask(client, user("Hello"), max_completion_tokens=30, stop=whole[8:10])
    assert answer.choices[0].message.content == whole[: whole.find(whole[8:10])].rstrip()
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens < 30


def test_who_resends_all_pays_for_what_is_new(client, server):
    before = figures(server)
    messages, answers = talk(client, "Ada", 9)
    after = figures(server)
    assert after['empathav_messages_total{of="read"}'] == before.get('empathav_messages_total{of="read"}', 0)
    known = after['empathav_messages_total{of="known"}'] - before.get('empathav_messages_total{of="known"}', 0)
    assert known == sum(range(0, 18, 2))
    verbatim = [0, *(extra(answer)["memory"]["verbatim"] for answer in answers)]
    grown = [one + 2 == other for one, other in zip(verbatim, verbatim[1:])]  # else the older half was compressed
    for one, other, kept in zip(answers, answers[1:], grown):
        assert not kept or other.usage.prompt_tokens_details.cached_tokens >= one.usage.prompt_tokens
    assert sum(grown) >= 5
    assert extra(answers[-1])["memory"]["utterances"] == 18


def test_a_client_that_resends_400_turns_is_read_for_its_new_words_alone(client, server):
    def read_and_known() -> tuple[float, float]:
        found = figures(server)
        return tuple(found.get(f'empathav_messages_total{{of="{kind}"}}', 0) for kind in ("read", "known"))

    messages = [{"role": role, "content": f"Line {turn}"} for turn in range(400) for role in ("user", "assistant")]
    counts = [read_and_known()]
    for turn in range(5):
        answer = ask(client, *messages, user(f"Well, {turn}?"))
        messages += [user(f"Well, {turn}?"), answer.choices[0].message.model_dump()]
        assert extra(answer)["memory"]["utterances"] == len(messages) == 802 + 2 * turn
        used = answer.usage
        assert used.prompt_tokens > 900  # most of them vectors of the memory
        assert turn == 0 or used.prompt_tokens - used.prompt_tokens_details.cached_tokens < 150  # newest messages
        counts.append(read_and_known())
    growth = [(after[0] - before[0], after[1] - before[1]) for before, after in zip(counts, counts[1:])]
    assert growth == [(800, 0), (0, 802), (0, 804), (0, 806), (0, 808)]


def test_an_edited_history_is_read_from_where_it_differs(client, server, responder):
    messages, answers = talk(client, "Bob", 5)
    edited = [*messages[:7], {"role": "assistant", "content": "I never said that."}, user("Well?")]
    before = figures(server)['empathav_messages_total{of="read"}']
    answer = ask(client, *edited)
    assert figures(server)['empathav_messages_total{of="read"}'] - before == 2
    assert (
        answer.choices[0].message.content
        == Conversation(responder, edited[:-1]).say("Well?", max_new_tokens=8).response
    )
    again = ask(client, *edited)
    assert again.choices[0].message.content == answer.choices[0].message.content
    retried = ask(client, *messages[:-1])  # the last answer once more
    assert retried.choices[0].message.content == answers[-1].choices[0].message.content


def test_clips_of_a_resent_history_are_known(client, server, sound):
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "wav"}}
    messages = [user([part, {"type": "text", "text": "Listen"}])]
    messages += [ask(client, *messages).choices[0].message.model_dump(), user("Well?")]
    before = figures(server)['empathav_messages_total{of="read"}']
    known = ask(client, *messages)
    assert figures(server)['empathav_messages_total{of="read"}'] == before
    other = [user("Listen"), *messages[1:]]
    assert ask(client, *other).choices[0].message.content != known.choices[0].message.content
    assert figures(server)['empathav_messages_total{of="read"}'] == before + 2


def test_conversations_at_once_do_not_see_each_other(client):
    names = ["Ada", "Bob", "Cem", "Dee"]
    mixed, begin = {}, threading.Barrier(4)

    def run(name):
        begin.wait()
        mixed[name] = [answer.choices[0].message.content for answer in talk(client, f"{name}, at once,", 4)[1]]

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        fresh = [answer.choices[0].message.content for answer in talk(client, f"{name}, at once,", 4)[1]]
        assert mixed[name] == fresh
    assert len({tuple(answers) for answers in mixed.values()}) == 4


def test_a_client_that_goes_away_ends_the_work(client, server):
    stream = ask(client, user("Tell me all"), stream=True, max_tokens=1500, temperature=2.0, seed=3)
    next(iter(stream))
    stream.close()
    for _ in range(100):
        if figures(server)["empathav_active_requests"] == 0:
            break
        threading.Event().wait(0.1)
    assert figures(server)["empathav_active_requests"] == figures(server)["empathav_batch_rows"] == 0
    assert figures(server)['empathav_requests_total{status="499"}'] >= 1


BAD = [
    ({"temperature": 3}, "temperature"),
    ({"n": 0}, "n"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"frequency_penalty": 1}, "frequency_penalty"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": ["Hello"]}, "messages"),
    ({"messages": [user(f"{SECRET}"), {"role": "assistant", "content": "x"}]}, "last message"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
    ({"messages": [{**user("x"), "name": SECRET}]}, "'name'"),
    ({"messages": [user("x"), {"role": "system", "content": "x"}, user("x")]}, "only the first"),
    ({"messages": [user("  ")]}, "empty"),
    ({"messages": [user([{"type": "video", "path": "/etc/passwd"}])]}, "unknown type"),
    ({"messages": [user([{"type": "audio_url", "audio_url": {"url": "/etc/passwd"}}])]}, "no data URI"),
    ({"messages": [user([{"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}}])]}, "no data URI"),
    ({"messages": [user([{"type": "image_url", "image_url": {"url": "https://example.com/x"}}])]}, "not fetched"),
    (
        {"messages": [user([{"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}}])]},
        "no media file",
    ),
    ({"messages": [user([{"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,?"}}])]}, "base64"),
    ({"messages": [user("x" * 40_000)]}, "shorten"),
    ({"messages": [user("x" * 4_000)]}, "shorten"),
    ({"max_tokens": 10**6}, "positions"),
    ({"messages": [user("half a pair \ud800")]}, "Unicode"),
]


@pytest.mark.parametrize("change, said", BAD, ids=[said for _, said in BAD])
def test_what_cannot_be_answered_is_refused_in_openais_form(server, change, said):
    body = {"model": "tiny", "messages": [user(SECRET)], **change}
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400
    error = json.loads(refused.value.read())["error"]
    assert said in error["message"] and error["type"] == "invalid_request_error" and "\n" not in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


def test_what_is_no_json_is_refused(server):
    for data in (b"{", b"", b"[]", b'{"model": 3}', b"\xff\xfe"):
        request = urllib.request.Request(
            f"{server.url}/v1/chat/completions", data, {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 400 and "message" in json.loads(refused.value.read())["error"]


def test_models_and_health(client, server):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="call it 'tiny'"):
        ask(client, user("x"), model="gpt-4o")
    assert json.loads(urllib.request.urlopen(f"{server.url}/health").read()) == {"status": "ok"}
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="tiny", input="x")
