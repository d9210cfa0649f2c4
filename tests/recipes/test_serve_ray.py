"""The recipe of Ray Serve: two replicas share conversations through the store. Run where Ray is installed."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from command import heed_interrupts
from helpers import RECIPES, short_labels, wake
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.responder import Responder
from transformers_empathav.testing.tiny import tiny_model


RECIPE = RECIPES / "serve_ray.py"
# Ray gives up a start that takes half a minute, which it may on a busy machine.
PATIENCE = {f"RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S": "300" for check in ("READY", "HEALTH")}
PATIENCE |= {"RAY_raylet_start_wait_time_s": "300"}
pytest.importorskip("fastapi", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, processor) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    short_labels(wake(tiny_model(processor))).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@contextmanager
def deployed(checkpoint: Path, *options: str):
    """Address of a deployment, in processes that end with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(RECIPE), str(checkpoint), "--cpus", "0.1", "--port", str(port), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", **PATIENCE}
    log = checkpoint.parent / "log"
    with open(log, "w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, preexec_fn=heed_interrupts)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/health").read()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(1)
        else:
            pytest.fail(log.read_text())
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'transformers-empathav[ray]'")
    store = tmp_path_factory.mktemp("store")
    with deployed(checkpoint, "--replicas", "2", "--store", str(store)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=120)


def read_and_known(address: str) -> dict[str, tuple[float, float]]:
    """Of each replica, how many earlier messages it had to read and how many it knew."""
    found = {}
    for _ in range(200):
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#"]
            figures = {name: float(value) for name, value in lines}
            counts = tuple(figures.get(f'empathav_messages_total{{of="{kind}"}}', 0) for kind in ("read", "known"))
            found[answer.headers["x-replica"]] = counts
        if len(found) == 2:
            return found
    pytest.fail(f"Of two replicas only {list(found)} answered.")


def test_each_replica_goes_on_with_what_the_other_began(client, address, checkpoint):
    here, messages, replicas = Conversation(Responder(checkpoint, device="cpu")), [], []
    options = {"model": "tiny", "max_tokens": 8}
    while sum(one != other for one, other in zip(replicas, replicas[1:])) < 3 and len(replicas) < 60:
        text = f"Ada says a line {len(replicas)}"
        messages.append({"role": "user", "content": text})
        raw = client.chat.completions.with_raw_response.create(messages=messages, **options)
        answer, reply = raw.parse(), here.say(text, max_new_tokens=8)
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        replicas.append(raw.headers["x-replica"])
        assert answer.choices[0].message.content == reply.response
        assert answer.model_extra["empathav"]["memory"] == reply.to_dict()["memory"]
        assert answer.usage.prompt_tokens == reply.tokens["prompt"]  # the newest messages and vectors, not all words
    assert len(set(replicas)) == 2
    counts = read_and_known(address)
    assert counts.keys() == set(replicas)
    assert all(read == 0 for read, _ in counts.values())
    assert sum(known for _, known in counts.values()) == sum(range(0, 2 * len(replicas), 2))


def test_a_stream_comes_in_pieces(client):
    options = {"model": "tiny", "max_tokens": 60, "temperature": 1.5, "seed": 5}
    options["messages"] = [{"role": "user", "content": "Tell me"}]
    whole = client.chat.completions.create(**options)
    pieces = [piece.choices[0].delta.content or "" for piece in client.chat.completions.create(stream=True, **options)]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 3


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", [str(RECIPE), "nowhere"])
    with pytest.raises(SystemExit, match=r"Ray Serve needs ray: pip install 'transformers-empathav\[ray\]'"):
        runpy.run_path(str(RECIPE), run_name="__main__")
