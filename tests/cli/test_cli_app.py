"""`empathav app`: what it refuses, and that it serves until it is interrupted."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from command import heed_interrupts
from transformers_empathav.cli import app


pytest.importorskip("gradio", reason="the page is made with the extra app")


def refused(*arguments) -> str:
    done = CliRunner().invoke(app, ["app", *map(str, arguments)])
    assert done.exit_code == 2 and done.stdout == ""
    return done.stderr


def test_what_cannot_be_is_said_in_one_line(checkpoint, monkeypatch):
    monkeypatch.delenv("EMPATHAV_PASSWORD", raising=False)
    assert "--login ann has no password: set the environment variable" in refused(checkpoint, "--login", "ann")
    assert "no help line of 'XX'" in refused(checkpoint, "--country", "XX")
    assert "--top-p 2" in refused(checkpoint, "--top-p", "2")
    assert refused("nowhere/at all").startswith("error: ")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install gradio" in refused(checkpoint)


def test_the_page_is_there_until_it_is_interrupted(checkpoint):
    command = [sys.executable, "-c", "from transformers_empathav.cli import main; main()", "app", str(checkpoint)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = {"stdout": subprocess.PIPE, "text": True, "env": environment, "preexec_fn": heed_interrupts}
    with subprocess.Popen([*command, "--no-browser"], **options) as process:
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(address) as answer:
            assert b"Empathetic conversation" in answer.read()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
