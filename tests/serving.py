"""A server of `empathav serve` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import openai


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
