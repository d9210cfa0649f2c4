"""
Conversations of hundreds of turns (LoCoMo): what a turn costs, how the memory grows, and whether the old is forgotten.

    python benchmarks/long_conversations.py

Reads each conversation turn by turn into a memory, on build/smollm2-135m and the folder that EMPATHAV_DATA names.
Every utterance (its first 64 tokens) is then written again from its vectors by the frozen language model,
teacher-forced, in nats a token, and so with the vectors of the utterance eight turns before. Writes
docs/images/long_conversations.png; the last line is one line of JSON. What it cannot show: whether a reply finds the
right one among thousands of vectors.
"""

import argparse
import json
import os
import time
from pathlib import Path


os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from worth import per_row  # noqa: E402

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.data.dialogues.locomo import load_locomo
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import text_losses


BUCKET = 50  # turns that are averaged in a point of the plot
SHIFT = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--turns", type=int, help="read no more turns than this of each conversation")
    parser.add_argument("--plot", default="docs/images/long_conversations.png")
    parser.add_argument("--dtype", default="bfloat16", help="of the language model; float32 on a CPU without bfloat16")
    options = parser.parse_args()
    if "EMPATHAV_DATA" not in os.environ:
        print("Not measured: EMPATHAV_DATA names no folder with locomo/, whose conversations are read here.")
        return
    dtype = getattr(torch, options.dtype)
    model = EmpathAVForCausalLM.from_pretrained(options.checkpoint, dtype=dtype).eval().requires_grad_(False)
    model.model.compressor.float()
    processor = EmpathAVProcessor.from_pretrained(options.checkpoint)
    files = sorted((Path(os.environ["EMPATHAV_DATA"]) / "locomo").glob("*.json"))
    conversations = [conversation for file in files for conversation in load_locomo(file)]
    results = []
    for conversation in conversations:
        messages = [message for message in conversation["messages"] if message["content"].strip()][: options.turns]
        seconds, sizes, memory = read(model, processor, messages)
        own, other = losses(model, processor, messages, memory)
        results.append({"id": conversation["id"], "seconds": seconds, "bytes": sizes, "own": own, "other": other})
        print(f"{conversation['id']}: {len(messages)} turns read, memory of {memory.nbytes:,} bytes", flush=True)
    plot(results, options.plot)
    print(json.dumps({"conversations": [figures(result) for result in results]}))


def read(model, processor, messages):
    """Seconds of each turn, bytes of the memory after it, and the memory."""
    seconds, sizes, memory = [], [], None
    for message in messages:
        history = processor.encode_history([{"role": message["role"], "content": message["content"]}])
        started = time.perf_counter()
        memory = model.compress(**history, memory=memory)
        seconds.append(time.perf_counter() - started)
        sizes.append(memory.nbytes)
    return seconds, sizes, memory


@torch.no_grad()
def losses(model, processor, messages, memory, batch=16):
    """Nats a token of each utterance from its own vectors, and from those of an earlier one."""
    collate, k = ReconstructionCollator(processor), memory.vectors_per_utterance
    groups = memory.vectors[0].view(-1, k, memory.vectors.shape[-1])
    table = []
    for vectors in (groups, groups.roll(SHIFT, dims=0)):
        column = []
        for start in range(0, len(messages), batch):
            rows = messages[start : start + batch]
            inputs = collate([[message] for message in rows])
            values, _, row = text_losses(model, inputs, vectors=vectors[start : start + batch].flatten(0, 1))
            column.append(per_row(values, row, len(rows)) / per_row(torch.ones_like(values), row, len(rows)))
        table.append(np.concatenate(column).tolist())
    return table


def buckets(values):
    """Means of consecutive stretches, the newest first, and how far from the end each lies."""
    newest_first = values[::-1]
    stretches = [newest_first[start : start + BUCKET] for start in range(0, len(values), BUCKET)]
    kept = [stretch for stretch in stretches if len(stretch) >= BUCKET // 2]
    return [BUCKET * (index + 0.5) for index in range(len(kept))], [float(np.mean(stretch)) for stretch in kept]


def figures(result):
    _, own = buckets(result["own"])
    tenth = max(len(result["seconds"]) // 10, 1)
    return {
        "id": result["id"],
        "turns": len(result["own"]),
        "ms_a_turn_first_tenth": round(1000 * float(np.median(result["seconds"][:tenth])), 1),
        "ms_a_turn_last_tenth": round(1000 * float(np.median(result["seconds"][-tenth:])), 1),
        "memory_bytes": result["bytes"][-1],
        "own_newest": round(own[0], 3),
        "own_oldest": round(own[-1], 3),
        "own": round(float(np.mean(result["own"])), 3),
        "other": round(float(np.mean(result["other"])), 3),
    }


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (cost, size, loss) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for index, result in enumerate(results):
        colour = f"C{index}"
        turns, seconds = buckets(result["seconds"][::-1])
        cost.plot(turns, [1000 * value for value in seconds], colour, label=result["id"])
        size.plot([value / 2**20 for value in result["bytes"]], colour)
        loss.plot(*buckets(result["own"]), colour)
        loss.plot(*buckets(result["other"]), colour, linestyle=":")
    cost.set(xlabel="turn", ylabel="ms", title="reading one more turn", ylim=(0, None))
    size.set(xlabel="turn", ylabel="MiB", title="memory", ylim=(0, None))
    loss.set(xlabel="turns before the end", ylabel="nats a token", title="own vectors (dotted: another turn's)")
    cost.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
