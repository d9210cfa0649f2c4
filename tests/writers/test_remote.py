"""A writer behind a server on this machine, with everything that goes wrong there."""

import json
import sys

import pytest

from chat_server import chat_server, reply_of
from helpers import assistant
from transformers_empathav.writers.remote import RemoteWriter
from transformers_empathav.writers.sampling import Sampling


PROMPTS = [
    [{"role": "user", "content": "My cat ran away. [sad]"}],
    [{"role": "user", "content": "Hi"}, assistant("Hello!"), {"role": "user", "content": "I won the race! [happy]"}],
]
SOON = {"retry-after-ms": "1"}  # or the client waits half a second and more


def writer_for(server, sampling=None, **options):
    return RemoteWriter(server.url, "tiny", sampling or Sampling(0.5, 0.9, 16), **{"timeout": 5.0, **options})


def test_a_server_is_asked_in_openais_words():
    with chat_server() as server:
        writer = writer_for(server, api_key="secret", extra_body={"min_p": 0.1})
        written = writer.write(PROMPTS, [11, 12])
    assert [found.text for found in written] == [reply_of(body) for body in server.bodies]
    assert {found.finish_reason for found in written} == {"stop"}
    assert server.bodies[1] == {
        "model": "tiny", "messages": PROMPTS[1], "temperature": 0.5, "top_p": 0.9, "max_tokens": 16, "seed": 12,
        "min_p": 0.1,
    }  # fmt: skip
    assert server.keys == ["Bearer secret"] * 2


def test_a_repetition_penalty_is_sent_and_extra_fields_win():
    with chat_server() as server:
        for extra_body in (None, {"repetition_penalty": 1.3, "temperature": 0.1}):
            writer_for(server, Sampling(repetition_penalty=1.1), extra_body=extra_body).write(PROMPTS[:1], [1])
    assert [body["repetition_penalty"] for body in server.bodies] == [1.1, 1.3]
    assert [body["temperature"] for body in server.bodies] == [0.8, 0.1]


def test_no_key_of_the_environment_is_sent(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password stolen\n")
    netrc.chmod(0o600)
    for name, value in {
        "OPENAI_API_KEY": "stolen",
        "OPENAI_ADMIN_KEY": "stolen",
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer stolen",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
    with chat_server() as server:
        writer_for(server).write(PROMPTS[:1], [1])
        writer_for(server, api_key="mine").write(PROMPTS[:1], [1])
    assert server.keys == ["Bearer none", "Bearer mine"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(status):
    with chat_server(lambda number, body: (status, SOON, "slow down") if number < 2 else None) as server:
        (written,) = writer_for(server).write(PROMPTS[:1], [5])
        assert written.text == reply_of(server.bodies[0]) and len(server.bodies) == 3
    with chat_server(lambda number, body: (status, SOON, "slow down")) as server:
        with pytest.raises(ConnectionError, match=f"'tiny'.*{status}: slow down.*run the same command again") as error:
            writer_for(server, max_retries=2).write(PROMPTS[:1], [5])
        assert len(server.bodies) == 3 and server.url in str(error.value)


def test_a_server_that_is_slow_or_away():
    with chat_server(delay=0.5) as server:
        with pytest.raises(ConnectionError, match="timed out.*kept"):
            writer_for(server, timeout=0.1, max_retries=1).write(PROMPTS[:1], [5])
        assert len(server.bodies) == 2
    with pytest.raises(ConnectionError, match="gave no answer.*refused"):
        writer_for(server, max_retries=0).write(PROMPTS[:1], [5])


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_ends_it_at_once(status):
    with chat_server(lambda number, body: (status, {}, '{"error": "no such model"}')) as server:
        with pytest.raises(ValueError, match=f"'tiny'.*{status}.*no such model.*Check url, model and key") as error:
            writer_for(server).write(PROMPTS[:1], [5])
        assert len(server.bodies) == 1 and server.url in str(error.value)


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize(
    "text", ["<html>no json</html>", "[]", "null", '{"choices": []}', '{"choices": [{"message": null}]}']
)
def test_an_answer_of_another_kind_is_one_clear_line(text, kind):
    with chat_server(lambda number, body: (200, {"Content-Type": kind}, text)) as server:
        with pytest.raises(ValueError, match="no chat completion: .*Check that the url") as error:
            writer_for(server).write(PROMPTS[:1], [5])
    assert text in str(error.value) and "\n" not in str(error.value)


def test_a_reply_without_words_is_empty_and_not_an_error():
    answer = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]})
    with chat_server(lambda number, body: (200, {}, answer)) as server:
        (written,) = writer_for(server).write(PROMPTS[:1], [5])
    assert (written.text, written.finish_reason) == ("", "stop")


def test_without_openais_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match="pip install openai"):
        RemoteWriter("http://127.0.0.1:1/v1", "tiny")


def test_a_prompt_longer_than_the_servers_context_is_told_apart():
    said = '{"error": {"message": "This model\'s maximum context length is 2048 tokens"}}'
    with chat_server(lambda number, body: (400, {}, said)) as server:
        (written,) = writer_for(server).write(PROMPTS[:1], [5])
    assert (written.text, written.finish_reason) == ("", "prompt")


def test_requests_are_spaced_the_repeated_ones_too():
    with chat_server(lambda number, body: (500, SOON, "oops") if number < 2 else None) as server:
        writer_for(server, requests_per_second=20).write(PROMPTS * 2, range(4))
    assert len(server.times) == 6 and server.times[-1] - server.times[0] >= 5 / 20 - 0.02
