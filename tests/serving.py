"""A server of `empathav serve` in a process of its own, and what clients say to it."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import openai


SECRET = "xylophone"  # said by a visitor, and never to be found in a log


class Served:
    """A running server: `url`, `process`, and the lines of its log so far."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.log, self.url = process, [], None
        started = threading.Event()

        def read():
            for line in process.stdout:
                self.log.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    self.url = found[1]
                    started.set()
            started.set()

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        started.wait(120)
        assert self.url, "".join(self.log)

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> str:
        """The whole log, once the process has ended."""
        self.process.wait(60)
        self.reader.join(60)
        return "".join(self.log)


@contextmanager
def served(checkpoint: Path, *options: str, key: str | None = None):
    environment = {name: value for name, value in os.environ.items() if name != "EMPATHAV_API_KEY"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | ({"EMPATHAV_API_KEY": key} if key else {})
    command = [sys.executable, "-m", "transformers_empathav.cli", "serve", str(checkpoint), "--port", "0", *options]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    try:
        yield Served(process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()


def user(content) -> dict:
    return {"role": "user", "content": content}


def ask(client, *messages, **options):
    options = {"model": "tiny", "max_tokens": 8, **options}
    return client.chat.completions.create(messages=list(messages), **options)


def extra(answer) -> dict:
    return answer.model_extra["empathav"]


def figures(server) -> dict[str, float]:
    lines = urllib.request.urlopen(f"{server.url}/metrics").read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def talk(client, name, turns, **options):
    """A client that resends all; its messages and the answers."""
    messages, answers = [], []
    for turn in range(turns):
        messages.append(user(f"{name} says a line {turn}"))
        answers.append(ask(client, *messages, **options))
        messages.append(answers[-1].choices[0].message.model_dump())
    return messages, answers
