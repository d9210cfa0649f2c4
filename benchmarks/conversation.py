"""What a turn of a long conversation costs, against the whole prompt that keeps its own keys and values.

Run without arguments from the repository root, on build/smollm2-135m in float32, as `empathav chat` does, with random
words. The last line is one line of JSON. `turn_s` is the median over 16 turns of all that a turn of 20 tokens costs
except writing the reply, which is as long: until its first token, and, after the last one, what becomes vectors.
`turn_worst_s` is the slowest of them, where the older half of the newest messages is compressed. `full_kept_kv_turn_s`
is the same for a prompt that holds every message and keeps its keys and values; beyond the model's positions there is
none. Both are measured in turn in one process.
"""

import json
import random
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from transformers import StoppingCriteria

from transformers_empathav import PromptCache
from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.chat.responder import Responder


TOKENS, MEASURED = 20, 16


class Clock(StoppingCriteria):
    """Notes when the first token of a reply was chosen, and the last one."""

    def __init__(self):
        self.first = self.last = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor, **kwargs) -> torch.BoolTensor:
        self.last = perf_counter()
        self.first = self.first or self.last
        return torch.zeros(len(input_ids), dtype=torch.bool)


class TimedResponder(Responder):
    """Writes replies of exactly so many tokens and keeps the clock of the last one."""

    tokens = TOKENS

    def write(self, inputs, cache, **options):
        self.clock = Clock()
        options |= {"max_new_tokens": self.tokens, "min_new_tokens": self.tokens}
        return super().write(inputs, cache, stopping_criteria=[self.clock], **options)


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 50, 200, 400, 4000])
    parser.add_argument("--recent", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    responder = TimedResponder(options.checkpoint, asr="", careful=False)
    words = sentences(responder.processor.tokenizer)
    report = {name: [] for name in ("turns", "turn_s", "turn_worst_s", "full_kept_kv_turn_s", "rss_mb")}
    for turns in options.turns:
        costs = remembered(responder, words, turns, options.recent)
        report["turns"].append(turns)
        report["turn_s"].append(round(median(costs), 4))
        report["turn_worst_s"].append(round(max(costs), 4))
        if turns * TOKENS <= responder.positions:
            report["full_kept_kv_turn_s"].append(round(median(verbatim(responder, words, turns)), 4))
        report["rss_mb"].append(resident_mb())
    show(report)
    kept = dict(zip(report["turns"], report["full_kept_kv_turn_s"]))
    turn = dict(zip(report["turns"], report["turn_s"]))
    report["vs_kept_kv_400"] = round(kept[400] / turn[400], 2) if 400 in kept else None
    report["flatness_4000"] = round(turn[4000] / turn[min(turn)], 2) if 4000 in turn else None
    print(json.dumps(report))


def sentences(tokenizer):
    """Random words, about 20 tokens at a time, the same in each run."""
    chosen = random.Random(0)
    words = [tokenizer.decode([index]) for index in range(2000, 12000)]
    words = [word for word in words if word.startswith(" ") and word[1:].isalpha() and word.isascii()]
    while True:
        yield "".join(chosen.choices(words, k=TOKENS)).strip()


def messages(words, count: int) -> list[dict]:
    return [{"role": ("user", "assistant")[turn % 2], "content": next(words)} for turn in range(count)]


def remembered(responder: TimedResponder, words, turns: int, recent: int) -> list[float]:
    """Seconds of turns of a conversation in which `turns` messages were said before."""
    conversation, costs = Conversation(responder, messages(words, turns), recent_turns=recent), []
    for _ in range(MEASURED + 1):
        started = perf_counter()
        conversation.say(next(words))
        ended, clock = perf_counter(), responder.clock
        costs.append(clock.first - started + ended - clock.last)
    return costs[1:]  # the first one reads the whole memory into the cache


def verbatim(responder: TimedResponder, words, turns: int) -> list[float]:
    """Seconds of the same turns where the prompt holds all messages."""
    said, cache, costs = messages(words, turns), PromptCache(), []
    for _ in range(MEASURED + 1):
        started = perf_counter()
        said.append({"role": "user", "content": next(words)})
        inputs = responder.processor.apply_chat_template(
            said, recent_turns=len(said), max_length=10**9, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        reply = "".join(responder.write(dict(inputs), cache))
        said.append({"role": "assistant", "content": reply})
        costs.append(responder.clock.first - started)
    return costs[1:]


def resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20


def show(report: dict):
    table = Table("messages before", "turn", "slowest of 16", "whole prompt, kept", "resident")
    kept = [f"{seconds:.3f} s" for seconds in report["full_kept_kv_turn_s"]]
    kept += ["–"] * (len(report["turns"]) - len(kept))
    for row in zip(report["turns"], report["turn_s"], report["turn_worst_s"], kept, report["rss_mb"]):
        table.add_row(str(row[0]), f"{row[1]:.3f} s", f"{row[2]:.3f} s", row[3], f"{row[4]} MB")
    Console().print(table)


if __name__ == "__main__":
    main()
