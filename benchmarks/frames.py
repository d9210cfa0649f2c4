"""
Whether a memory can be read wherever it stands: single utterances, written again from their vectors in several frames.

    python benchmarks/frames.py [--checkpoint build/smollm2-135m] [--compressor FILE]

Teacher-forced on dev utterances of MELD (the folder that EMPATHAV_DATA names), in nats a token, with intervals over
utterances: in the frame of `recall`, in those that a compressor may learn in, and in three that none learns in: a bare
beginning, notes in a user's turn, and a system prompt before turns that are verbatim. The last line is one line of
JSON. What it cannot show: that a reply uses what can be read.
"""

import argparse
import json
import os


os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from worth import per_row  # noqa: E402

from transformers_empathav import EmpathAVForCausalLM, EmpathAVProcessor
from transformers_empathav.checkpoint.prompts import frame_of, memory_frame, question_frames
from transformers_empathav.checkpoint.trained_parts import load_part
from transformers_empathav.data.dialogues.corpus import load_corpus
from transformers_empathav.data.dialogues.windows import windows
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import text_losses


def frames_of(processor):
    """Token ids before and after the memory, by the name of the frame."""
    tokenizer, mark = processor.tokenizer, processor.memory_token
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    notes = [{"role": "user", "content": f"Here are my notes, {mark}, and nothing else. Can you read them?"}]
    turns = [
        {"role": "system", "content": f"You listen well. Earlier: {mark}"},
        {"role": "user", "content": "I am back."},
        {"role": "assistant", "content": "Welcome back! How are you?"},
        {"role": "user", "content": "Tired. What was it that I told you this morning?"},
    ]
    learned = {f"learned, {number}": frame for number, frame in enumerate(question_frames(processor), 1)}
    held_back = {
        "held back, bare": (bos, tokenizer("\n", add_special_tokens=False)["input_ids"]),
        "held back, notes": frame_of(notes, processor),
        "held back, before turns": frame_of(turns, processor),
    }
    return {"recall": memory_frame(processor), **learned, **held_back}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--compressor", help="trained compressor to read with, in place of the checkpoint's")
    parser.add_argument("--utterances", type=int, default=300)
    parser.add_argument("--batch", type=int, default=20)
    options = parser.parse_args()
    if "EMPATHAV_DATA" not in os.environ:
        print("Not measured: EMPATHAV_DATA names no folder with meld/, which is read here.")
        return
    model = EmpathAVForCausalLM.from_pretrained(options.checkpoint, dtype=torch.float32).eval().requires_grad_(False)
    processor = EmpathAVProcessor.from_pretrained(options.checkpoint)
    if options.compressor:
        load_part(model, "compressor", options.compressor)
    rows = windows(load_corpus("meld", "dev"), 1)[: options.utterances]
    collate, random, report = ReconstructionCollator(processor), np.random.default_rng(0), {}
    table = Table("frame", "nats a token", "95 %")
    for name, frame in frames_of(processor).items():
        collate.usual, losses = frame, []
        for start in range(0, len(rows), options.batch):
            batch = collate(rows[start : start + options.batch])
            with torch.no_grad():
                values, _, row = text_losses(model, batch)
            count = len(batch["input_ids"])
            losses += zip(per_row(values, row, count), per_row(torch.ones_like(values), row, count))
        losses = np.array(losses)
        drawn = losses[random.integers(0, len(losses), (1000, len(losses)))].sum(axis=1)
        low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
        total, tokens = losses.sum(axis=0)
        report[name] = round(total / tokens, 3)
        table.add_row(name, f"{report[name]:.3f}", f"{low:.3f}–{high:.3f}")
    Console().print(table)
    print(json.dumps({"benchmark": "frames", "utterances": len(rows), "nats": report}))


if __name__ == "__main__":
    main()
