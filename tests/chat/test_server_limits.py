"""What a server lets in and how it ends: keys, limits, faults, shutdown, and a store that outlives it."""

import json
from itertools import count

import openai
import pytest

from transformers_empathav.chat.answering import Answerer
from transformers_empathav.chat.batching import Batch
from transformers_empathav.chat.shared_responder import SharedResponder


pytest.importorskip("fastapi", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
from serving import SECRET, ask, extra, figures, served, talk, user  # noqa: E402


def test_limits_keys_and_a_store_that_outlives_the_process(responder, tmp_path):
    checkpoint = responder.model.config._name_or_path
    options = ("--name", "tiny", "--store", str(tmp_path / "store"))
    limits = ("--max-body", "1", "--concurrency", "1", "--queue", "0", "--allow-urls")
    with served(checkpoint, *options, *limits, key="the key") as server:
        client = server.client("the key")
        for wrong in ("a key", "the keys", "the ke"):
            with pytest.raises(openai.AuthenticationError) as refused:
                ask(server.client(wrong), user("Hello"))
            assert refused.value.code == "invalid_api_key"
        for size in (2 * 2**20, 40 * 2**20):
            with pytest.raises(openai.APIStatusError) as refused:
                ask(client, user("x" * size))
            assert refused.value.status_code == 413 and "larger than" in refused.value.message
        for url in (
            "http://127.0.0.1:1/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://10.0.0.1/",
            "http://127.1/",
        ):
            with pytest.raises(openai.BadRequestError, match="private|could not be"):
                ask(client, user([{"type": "video_url", "video_url": {"url": url}}]))
        messages, _ = talk(client, "Ada", 5)
        messages.append(user("Go on and on"))
        sampled = {"max_tokens": 1200, "temperature": 2.0}
        long = (
            seed for seed in range(20) if ask(client, *messages, seed=seed, **sampled).usage.completion_tokens > 300
        )
        stream = iter(ask(client, *messages, stream=True, seed=next(long), **sampled))
        text = next(stream).choices[0].delta.content
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, user("Hello"))
        assert int(refused.value.response.headers["Retry-After"]) > 0
        server.terminate()  # in the middle of a stream, which goes on to its end
        pieces = list(stream)
        rest = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert pieces[-1].choices[0].finish_reason and len(rest) > 150
        text += rest
        assert "Traceback" not in server.ended()
        with pytest.raises(openai.APIConnectionError):
            ask(client, user("Hello"))
    messages += [{"role": "assistant", "content": text}, user("Well?")]
    with served(checkpoint, *options) as server:
        client = server.client()
        answer = ask(client, *messages)
        read = figures(server)
        assert read['empathav_messages_total{of="known"}'] == 12 and read['empathav_messages_total{of="read"}'] == 0
    with served(checkpoint, "--name", "tiny") as server:
        fresh = ask(server.client(), *messages)
        assert figures(server)['empathav_messages_total{of="read"}'] == 12
        assert extra(fresh)["memory"]["utterances"] == extra(answer)["memory"]["utterances"] == 14


@pytest.fixture
def app(responder):
    """The server in this process, as a function of its settings."""
    from fastapi.testclient import TestClient

    from transformers_empathav.chat.server import Settings, create_app

    shared = SharedResponder(responder.model.config._name_or_path, device="cpu")
    yield lambda **settings: TestClient(create_app(shared, Settings("tiny", **settings)))
    shared.close()


def post(app, **options):
    body = {"model": "tiny", "messages": [user(f"My {SECRET}")], "max_tokens": 200, **options}
    return app.post("/v1/chat/completions", json=body)


def test_an_answer_that_takes_too_long_is_given_up(app):
    slow = app(timeout=0.05)
    answer = post(slow)
    assert answer.status_code == 504 and answer.json()["error"]["type"] == "timeout"
    with slow:  # whose end waits for the threads
        pass
    assert 'empathav_requests_total{status="504"} 1.0' in slow.get("/metrics").text


def test_a_fault_of_the_server_is_told_without_the_words(app, monkeypatch, caplog):
    broken = app()

    def fail(self, messages, go_on):
        raise RuntimeError(f"cannot read {messages}")

    with monkeypatch.context() as patch:
        patch.setattr(Answerer, "begin", fail)
        answer = post(broken)
    assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"
    assert "RuntimeError" in caplog.text and SECRET not in caplog.text + answer.text
    step, taken = Batch._step, count()

    def fail_later(batch, joining):
        if next(taken) > 60:
            raise RuntimeError(SECRET)
        step(batch, joining)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_step", fail_later)
        lines = post(broken, stream=True, temperature=2, seed=1).text.strip().split("\n\n")
    assert "error" in json.loads(lines[-1].removeprefix("data: ")) and len(lines) > 1
    assert SECRET not in caplog.text and post(broken, max_tokens=4).status_code == 200
