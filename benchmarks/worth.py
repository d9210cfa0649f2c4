"""
What a memory is worth: how well the frozen language model writes an utterance again, with and without it.

    python benchmarks/worth.py

Teacher-forced cross-entropy in nats a token on dev utterances of MELD (the folder that EMPATHAV_DATA names), single
and in windows of eight, on build/smollm2-135m. Columns: no memory; the last two utterances verbatim; embeddings
averaged over as many stretches as there are vectors; a soft prompt of as many vectors, trained here on training
utterances; another conversation's memory; the own memory, also where it read the utterance's emotion; the text itself.
Worth is the least of no memory, soft prompt and another's memory, minus the own. Intervals: 95 %, bootstrap over
windows. The last line is one line of JSON. What it cannot show: that a memory makes replies better.
"""

import argparse
import json
import os
import random
import time


os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.chat.recall import recall
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.windows import windows
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import text_losses


COLUMNS = ("none", "last_2", "mean_pooled", "soft_prompt", "other", "own", "own_with_emotions", "text")
BASELINES = ("none", "soft_prompt", "other")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--utterances", type=int, default=512, help="dev utterances of either table")
    parser.add_argument("--soft_steps", type=int, default=120, help="steps of 16 windows that train the soft prompt")
    parser.add_argument("--batch", type=int, default=16, help="windows of one utterance in a batch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8], help="utterances in a window")
    parser.add_argument("--dtype", default="bfloat16", help="of the language model; float32 on a CPU without bfloat16")
    options = parser.parse_args()
    if "EMPATHAV_DATA" not in os.environ:
        print("Not measured: EMPATHAV_DATA names no folder with meld/ and empathetic_dialogues/, which are read here.")
        return
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    model = EmpathAVForCausalLM.from_pretrained(options.checkpoint, dtype=dtype).eval().requires_grad_(False)
    model.model.compressor.float()
    model.model.language_model.set_attn_implementation("eager")
    processor = EmpathAVProcessor.from_pretrained(options.checkpoint)
    results = {}
    for size in options.sizes:
        batch = max(options.batch // size, 4)
        train = windows(load_corpus("meld", "train") + load_corpus("empathetic_dialogues", "train"), size)
        dev = windows(load_corpus("meld", "dev"), size)[: options.utterances // size]
        started = time.perf_counter()
        soft = train_soft_prompt(model, processor, train, size, batch, options.soft_steps)
        table = measure(model, processor, dev, soft, batch)
        results[f"windows_of_{size}"] = summarise(table, time.perf_counter() - started)
        show(size, results[f"windows_of_{size}"])
    reconstructions(model, processor, windows(load_corpus("meld", "dev"), 1))
    k = model.config.memory_tokens_per_utterance
    print(json.dumps({"k": k, "parameters_of": options.checkpoint, **results}))


def train_soft_prompt(model, processor, train, size, batch, steps):
    """Vectors, as many as a window's memory, that make the language model write such text without having read it."""
    collate = ReconstructionCollator(processor)
    table = model.get_input_embeddings().weight.float()
    count = size * model.config.memory_tokens_per_utterance
    soft = torch.nn.Parameter(table[torch.randint(len(table), (count,))].clone())
    optimizer = torch.optim.AdamW([soft], lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for step in range(steps):
        inputs = collate(train[step * batch : (step + 1) * batch])
        loss = text_losses(model, inputs, vectors=soft_rows(soft, inputs, model.config.memory_token_id))[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return soft.detach()


def soft_rows(soft, inputs, memory_token_id):
    """The soft prompt for each row of a batch, cut to the row's number of places."""
    return torch.cat([soft[:count] for count in (inputs["input_ids"] == memory_token_id).sum(dim=1).tolist()])


@torch.no_grad()
def measure(model, processor, dev, soft, batch):
    """For each column the summed loss of each window; the tokens, and how many the own memory gets right."""
    collate = ReconstructionCollator(processor)
    memory_token_id, k = model.config.memory_token_id, model.config.memory_tokens_per_utterance
    table = {name: [] for name in (*COLUMNS, "tokens", "correct")}
    for start in range(0, len(dev), batch):
        group = dev[start : start + batch]
        inputs = collate(group)
        memory = model.compress(inputs["history_input_ids"], inputs["history_attention_mask"])
        others = memory.vectors.roll(1, dims=0), memory.lengths.roll(1)
        other = torch.cat(
            [row[torch.arange(length) % int(held)] for row, held, length in zip(*others, memory.lengths.tolist())]
        )
        vectors = {
            "own": memory.flat(),
            "other": other,
            "soft_prompt": soft_rows(soft, inputs, memory_token_id),
            "mean_pooled": torch.cat([mean_pooled(model, processor, window, k) for window in group]),
        }
        batches = {name: (inputs, value) for name, value in vectors.items()}
        batches["own_with_emotions"] = (ReconstructionCollator(processor, emotions=1.0)(group), None)
        for name, kept in (("none", 0), ("last_2", 2), ("text", 8)):
            batches[name] = (ReconstructionCollator(processor, verbatim=kept)(group), None)
        for name, (given, value) in batches.items():
            losses, correct, row = text_losses(model, given, vectors=value)
            table[name].append(per_row(losses, row, len(group)))
            if name == "own":
                table["correct"].append(per_row(correct, row, len(group)))
                table["tokens"].append(per_row(torch.ones_like(losses), row, len(group)))
    return {name: np.concatenate(values) for name, values in table.items()}


def mean_pooled(model, processor, window, k):
    """Embeddings of each utterance averaged over `k` stretches, as long as embeddings are."""
    table, pooled = model.get_input_embeddings().weight.float(), []
    for message in window:
        ids = processor.tokenizer(" " + message["content"], add_special_tokens=False)["input_ids"][:64]
        for stretch in np.array_split(ids if len(ids) >= k else ids * k, k):
            mean = table[torch.as_tensor(stretch)].mean(dim=0)
            pooled.append(mean / mean.norm() * table.norm(dim=-1).mean())
    return torch.stack(pooled)


def per_row(values, row, rows):
    return torch.zeros(rows, dtype=torch.float64).index_add(0, row, values.double()).numpy()


def summarise(table, seconds, draws=2000):
    """Means over tokens with bootstrap intervals over windows."""
    random_ = np.random.default_rng(0)
    picks = random_.integers(len(table["tokens"]), size=(draws, len(table["tokens"])))

    def with_interval(statistic):
        values = [statistic({name: column[pick] for name, column in table.items()}) for pick in picks]
        low, high = np.percentile(values, [2.5, 97.5])
        return [round(float(value), 3) for value in (statistic(table), low, high)]

    def mean(name):
        return lambda rows: rows[name].sum() / rows["tokens"].sum()

    result = {name: with_interval(mean(name)) for name in COLUMNS}
    result["worth"] = with_interval(lambda rows: min(mean(n)(rows) for n in BASELINES) - mean("own")(rows))
    result["accuracy"] = with_interval(mean("correct"))
    return {**result, "windows": len(table["tokens"]), "tokens": int(table["tokens"].sum()), "seconds": round(seconds)}


def show(size, result):
    title = f"nats a token, {result['windows']} windows of {size}, {result['tokens']} tokens of MELD dev"
    table = Table("", "mean", "95 % interval", title=title)
    for name in (*COLUMNS, "worth", "accuracy"):
        value, low, high = result[name]
        table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}")
    Console(width=100).print(table)


def reconstructions(model, processor, dev, count=10):
    """Greedy reconstructions of ten utterances, from the best to the worst of sixty, each tenth."""
    picked = random.Random(0).sample(dev, 60)
    memories = [model.compress(**processor.encode_history(window)) for window in picked]
    scored = []
    for window, memory in zip(picked, memories):
        said, written = window[0]["content"], recall(model, processor, memory)[0]
        ids, again = (processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (said, written))
        scored.append((sum(a == b for a, b in zip(ids, again)) / max(len(ids), len(again)), said, written))
    scored.sort(reverse=True)
    exact = sum(score for score, _, _ in scored) / len(scored)
    table = Table(
        "same", "said", "written from its vectors, greedy", title="Ten of sixty, best to worst", show_lines=True
    )
    for score, said, written in [scored[index * 59 // (count - 1)] for index in range(count)]:
        table.add_row(f"{score:.2f}", said, written)
    Console(width=140).print(table)
    print(f"Greedy tokens that are the same at the same place, mean over sixty utterances: {exact:.3f}")


if __name__ == "__main__":
    main()
