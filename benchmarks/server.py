"""What a server gives: tokens per second in one batch and one after the other, and what a resent history costs.

    python benchmarks/server.py                        # from the repository root, on build/smollm2-135m-tuned
    EMPATHAV_DATA=DIRECTORY python benchmarks/server.py --soak --minutes 30

One conversation alone talks for a fifth of the time, then a history of `--turns` turns is sent fresh and resent, then
`--clients` conversations talk at once for `--minutes`, each through OpenAI's own client. Every client resends its
whole history, and checks that the server remembers as many messages as it sent. `--soak` mixes the clips of av_clips
in the folder that EMPATHAV_DATA names with text; `--clips DIRECTORY` takes others.

The server's memory is looked at every few seconds. Its slope is fitted to the second half of the time: in the first
one the known beginnings fill their room. Its 95 % interval takes the looks as independent, which they are not quite,
so it is too narrow. Open files are counted before and after, when no client is connected. The last line is one line of
JSON.
"""

import base64
import json
import os
import random
import re
import subprocess
import sys
import threading
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, sleep

import openai
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.stats import linregress, t


WORDS = "I you we lost found home work friend mother rain long day night happy tired angry story tell never".split()
SAMPLED = 5.0  # seconds between two looks at the server's memory


def main():
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="build/smollm2-135m-tuned")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--clips", type=Path, help="Directory of clips: every fourth message is one of them.")
    parser.add_argument("--soak", action="store_true", help="Clips of EMPATHAV_DATA besides text, where it is set.")
    parser.add_argument("--known", type=int, default=256, help="MiB of known beginnings; full before half the time.")
    options = parser.parse_args()
    if options.soak and options.clips is None and "EMPATHAV_DATA" in os.environ:
        options.clips = Path(os.environ["EMPATHAV_DATA"]) / "av_clips"
    command = [sys.executable, "-m", "transformers_empathav.cli", "serve", options.checkpoint, "--port", "0"]
    command += ["--name", "model", "--known", str(options.known), "--timeout", "3600", "--no-careful"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        url = next(found[1] for line in process.stderr if (found := re.search(r"running on (http\S+)", line)))
        threading.Thread(target=lambda: list(process.stderr), daemon=True).start()
        figures = measure(options, f"{url}/v1", process.pid)
    finally:
        process.terminate()
        process.wait(60)
    table = Table("figure", "value", title=f"{options.clients} conversations at once")
    for name, value in figures.items():
        table.add_row(name, escape(str(value)))
    Console().print(table)
    print(json.dumps(figures))


def measure(options, url: str, pid: int) -> dict:
    clips = sorted(options.clips.rglob("*.mp4")) if options.clips else []
    if options.clips and not clips:
        raise ValueError(f"{options.clips} holds no .mp4: name a folder of clips, or leave --clips out.")
    seconds = 60 * options.minutes

    def talker(seed: int) -> Client:
        return Client(url, seed, options.max_tokens, clips)

    first = talker(-4)
    first.turn()  # the first reply of a process is slow
    first.client.close()
    one, one_cpu = run([talker(-1)], seconds / 5, pid)
    fresh, resent, short = long_history(Client(url, -2, options.max_tokens, []), options.turns, url)
    clients, files, rss = [talker(seed) for seed in range(options.clients)], open_files(pid), Rss(pid)
    many, many_cpu = run(clients, seconds, pid)
    slope, interval, looks = rss.stop()
    waited = [second for client in clients for second in client.first]
    errors = sum((client.errors for client in clients), [])
    print(*dict.fromkeys(errors), sep="\n")
    return {
        "cpus": os.cpu_count(),
        "clients": options.clients,
        "minutes": options.minutes,
        "clips": len(clips),
        "requests": sum(client.requests for client in clients),
        "errors": len(errors),
        "tokens_per_s": round(many, 2),
        "sequential_tokens_per_s": round(one, 2),
        "vs_sequential": round(many / one, 2),
        "vs_sequential_cpu": round(many_cpu / one_cpu, 2),
        "ttft_p50_s": round(median(waited), 3),
        "ttft_p95_s": round(quantiles(waited, n=20)[-1], 3),
        "rss_slope_mb_per_min": slope,
        "rss_slope_interval": interval,
        "rss_looks": looks,
        "open_files_before": files,
        "open_files_after": open_files(pid),
        f"fresh_{options.turns}_turns_s": round(fresh, 3),
        f"resend_{options.turns}_turns_s": round(resent, 3),
        "short_turn_s": round(short, 3),
        "vs_short_turn": round(resent / short, 2),
    }


class Client:
    """A conversation that resends all of itself with each message, and begins anew once it is long."""

    longest = 60

    def __init__(self, url: str, seed: int, max_tokens: int, clips: list[Path]):
        self.client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        self.random, self.max_tokens, self.clips = random.Random(seed), max_tokens, clips
        self.messages, self.tokens, self.requests, self.first, self.errors = [], 0, 0, [], []

    def turn(self):
        """One exchange, streamed."""
        content = [{"type": "text", "text": " ".join(self.random.choices(WORDS, k=15))}]
        if self.clips and self.random.random() < 0.25:
            data = base64.b64encode(self.random.choice(self.clips).read_bytes()).decode()
            content.insert(0, {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}})
        if len(self.messages) >= self.longest:
            self.messages = []
        self.messages = [*self.messages, {"role": "user", "content": content}]
        self.requests += 1
        started, first, text = monotonic(), None, ""
        stream = self.client.chat.completions.create(
            model="model",
            messages=self.messages,
            max_tokens=self.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        for piece in stream:
            if piece.choices and piece.choices[0].delta.content:
                first = first or monotonic() - started
                text += piece.choices[0].delta.content
            if piece.usage:
                self.tokens += piece.usage.completion_tokens
            elif piece.choices and piece.choices[0].finish_reason:
                held = piece.model_extra["empathav"]["memory"]["utterances"]
        self.messages.append({"role": "assistant", "content": text})
        if first is not None:
            self.first.append(first)
        if held != len(self.messages):
            self.errors.append(f"{held} messages remembered of {len(self.messages)}")

    def talk(self, ends: float):
        while monotonic() < ends:
            try:
                self.turn()
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                self.messages = []


def run(clients: list[Client], seconds: float, pid: int) -> tuple[float, float]:
    """Tokens per second of clients that talk at once, and per second of the server's processor time."""
    started, cpu, before = monotonic(), processor_time(pid), sum(client.tokens for client in clients)
    threads = [threading.Thread(target=client.talk, args=(started + seconds,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.client.close()
    tokens = sum(client.tokens for client in clients) - before
    return tokens / (monotonic() - started), tokens / (processor_time(pid) - cpu)


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used: what else runs on the machine does not count."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def long_history(client: Client, turns: int, url: str) -> tuple[float, float, float]:
    """Seconds of a request with a history that is new to the server, with one that it knows, and with a short one."""

    def timed(talker):
        started = monotonic()
        talker.turn()
        return monotonic() - started

    short = Client(url, -3, client.max_tokens, [])
    shorts = [timed(short) for _ in range(8)][2:]
    say = client.random.choices
    client.messages = [
        {"role": role, "content": " ".join(say(WORDS, k=15))} for _ in range(turns) for role in ("user", "assistant")
    ]
    client.longest = sys.maxsize
    fresh = timed(client)
    resent = median(timed(client) for _ in range(6))
    client.client.close()
    short.client.close()
    return fresh, resent, median(shorts)


def open_files(pid: int) -> int:
    """Open files of a process, once it has noticed that no client is connected any more."""
    sleep(SAMPLED)
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Rss:
    """Looks at the memory of a process until it is stopped."""

    def __init__(self, pid: int):
        self.pid, self.seen, self.ended = pid, [], threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self):
        while not self.ended.wait(SAMPLED):
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.seen.append((monotonic() / 60, int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024))

    def stop(self) -> tuple[float | None, list[float] | None, int]:
        """Slope in MB per minute over the second half, its 95 % interval, and the looks; `None` where they are few."""
        self.ended.set()
        self.thread.join()
        half = self.seen[len(self.seen) // 2 :]
        if len(half) < 5:
            return None, None, len(half)
        fit = linregress(*zip(*half))
        slope, margin = float(fit.slope), float(t.ppf(0.975, len(half) - 2) * fit.stderr)
        return round(slope, 2), [round(slope - margin, 2), round(slope + margin, 2)], len(half)


if __name__ == "__main__":
    main()
