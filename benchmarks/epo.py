"""
What a step of EPO costs beside a step of TRL's DPO, with the same model, adapter and pairs.

    python benchmarks/epo.py [--steps 20] [--pairs 4]

Needs build/smollm2-135m. A step goes from rows to gradients: collating, the reference, policy and backward pass, in
bfloat16 as the recipe trains on a CPU. TRL's rows are tokenised beforehand, as its trainer does it; ours are encoded
in the step. Steps of both trainers alternate, so that a busy machine slows both; the median counts.

- text: the same words through both.
- av: ours with a clip (sound and frames from the cache) and six older messages (memory) in each pair, against TRL with
  text of the same number of positions, placeholders counted.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer

from transformers_empathav.testing.conversations import tiny_clip
from transformers_empathav.training.adapters import AdapterArguments, feature_cache, load_base
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.epo.config import EPOConfig
from transformers_empathav.training.epo.trainer import EPOTrainer


CHECKPOINT = Path(__file__).resolve().parents[1] / "build" / "smollm2-135m"
SYSTEM = {"role": "system", "content": [{"type": "text", "text": "You are a kind friend."}]}
SAID = "I have been waiting for three weeks and nobody from the clinic has called me back about the results"
CHOSEN = "Three weeks is a long time to carry that around. Shall we work out together whom you could ring tomorrow?"
REJECTED = "Who cares about some results, you always make such a fuss about every little thing that happens to you."


def words(text):
    return [{"type": "text", "text": text}]


def row(prompt):
    return {
        "prompt": [SYSTEM, *prompt],
        "chosen": [{"role": "assistant", "content": words(CHOSEN)}],
        "rejected": [{"role": "assistant", "content": words(REJECTED)}],
    }


def text_row(filler=0):
    return row([{"role": "user", "content": words(SAID + " so" * filler)}])


def av_row(clip):
    older = [{"role": ("user", "assistant")[turn % 2], "content": words(SAID)} for turn in range(6)]
    newest = [{"role": "assistant", "content": words("Tell me.")}] * 3  # four messages stay verbatim
    return row([*older, *newest, {"role": "user", "content": [{"type": "video", "path": clip}, *words(SAID)]}])


def plain(example):
    """The row as TRL's tokenizer reads it."""
    return {
        name: [{"role": message["role"], "content": message["content"][0]["text"]} for message in messages]
        for name, messages in example.items()
    }


def longest(collator, example):
    return collator([example])["input_ids"].shape[1]


def filler_for(collator, example):
    """How many words make a row of text as long as this one."""
    wanted, filler = longest(collator, example), 0
    while longest(collator, text_row(filler)) < wanted:
        filler += wanted - longest(collator, text_row(filler))
    return filler


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=4)
    options = parser.parse_args()
    logging.set_verbosity_error()
    arguments = AdapterArguments(checkpoint=str(CHECKPOINT), attn_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "per_device_train_batch_size": options.pairs,
            "use_cpu": True,
            "bf16": True,
            "gradient_checkpointing": False,
            "report_to": "none",
            "max_length": 1024,
            "disable_tqdm": True,
        }

        def ours(rows):
            model, processor = load_base(arguments)
            return EPOTrainer(
                model,
                args=EPOConfig(f"{folder}/ours", **settings),
                train_dataset=Dataset.from_list(rows),
                processing_class=processor,
                peft_config=arguments.lora(model),
                cache=feature_cache(model, processor, f"{folder}/features"),
            )

        def stock(rows):
            model, processor = load_base(arguments)
            return DPOTrainer(
                model,
                args=DPOConfig(f"{folder}/stock", **settings),
                train_dataset=Dataset.from_list([plain(example) for example in rows]),
                processing_class=processor.tokenizer,
                peft_config=arguments.lora(model),
            )

        collator = ConversationCollator(load_base(arguments)[1], PAIR)
        clip = str(tiny_clip(Path(folder) / "clip.mp4", 300.0))
        spoken = av_row(clip)
        filler = filler_for(collator, spoken)
        short, length = longest(collator, text_row()), longest(collator, spoken)
        rows = {"text": text_row(), "long": text_row(filler), "av": spoken}
        trainers = {
            "trl_text": stock([rows["text"]] * options.pairs),
            "ours_text": ours([rows["text"]] * options.pairs),
            "trl_long": stock([rows["long"]] * options.pairs),
            "ours_av_cached": ours([rows["av"]] * options.pairs),
        }
        for trainer in trainers.values():
            trainer.current_gradient_accumulation_steps = 1  # what train() sets
        positions = dict(zip(trainers, (short, short, length, length)))
        seconds = {name: [] for name in trainers}
        for turn in range(options.steps + 1):
            for name, trainer in trainers.items():
                examples = [trainer.train_dataset[index] for index in range(options.pairs)]
                trainer.model.zero_grad()
                began = time.perf_counter()
                batch = trainer.data_collator(examples)
                trainer.training_step(trainer.model, batch)
                if turn:  # the first step of each allocates, and fills the cache
                    seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.pairs} pairs a step, {options.steps} steps, {torch.get_num_threads()} threads")
    print(f"{'':<16}{'positions':>10}{'median s a step':>18}{'least':>8}")
    for name, values in seconds.items():
        print(f"{name:<16}{positions[name]:>10}{medians[name]:>18.3f}{min(values):>8.3f}")
    print(
        json.dumps(
            {"benchmark": "epo", "cpus": os.cpu_count()}
            | {f"{name}_step_s": value for name, value in medians.items()}
            | {
                "ratio_text": medians["ours_text"] / medians["trl_text"],
                "ratio_av": medians["ours_av_cached"] / medians["trl_long"],
            }
        )
    )


if __name__ == "__main__":
    main()
