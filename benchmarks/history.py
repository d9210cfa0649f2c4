"""What a long history costs: one more turn with a memory, against the whole prompt anew or kept in its own cache.

Run without arguments from the repository root, on build/smollm2-135m in bfloat16 with random turns of 20 tokens. The
last line is one line of JSON. `turn_cost` is all work until a reply can begin after one more turn: the compressor
reads it, the language model's cache over [system][memory] grows by its vectors, and two verbatim turns and the new one
are computed.
"""

import json
from argparse import ArgumentParser
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from transformers import DynamicCache

from transformers_empathav import EmpathAVConfig, EmpathAVForCausalLM


TURN_TOKENS, RECENT, DECODE_STEPS = 20, 2, 16


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 50, 200, 400])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = EmpathAVConfig.from_pretrained(options.checkpoint)
    shipped_k = config.memory_tokens_per_utterance
    results = {}
    for k in sorted({1, shipped_k}):
        config.memory_tokens_per_utterance = k
        # The vectors' values do not change the cost, so with another k the read-outs are simply new.
        model = EmpathAVForCausalLM.from_pretrained(
            options.checkpoint, config=config, dtype=getattr(torch, options.dtype), ignore_mismatched_sizes=True
        ).eval()
        results[k] = measure(model, k, options.turns)
        show(results[k])
    print(json.dumps({**results[1], "shipped_k": results[shipped_k]}))


@torch.inference_mode()
def measure(model, k, turns):
    columns = ("full_prefill_s", "full_kept_kv_turn_s", "turn_cost_s", "kv_bytes_full", "kv_bytes_memory")
    columns += ("memory_bytes", "decode_ms_full", "decode_ms_memory")
    result = {"k": k, "turns": turns, **{name: [] for name in columns}}
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.text_config.vocab_size
    language_model = model.model.language_model

    def turn(count=1):
        return torch.randint(100, vocabulary, (1, count * TURN_TOKENS), generator=generator)

    def read(ids, cache):
        hidden = language_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
        return model.lm_head(hidden[:, -1:])

    readouts = torch.full((1, k), model.config.memory_token_id)
    for count in turns:
        system = turn()
        history = [turn() for _ in range(count)]
        full = torch.cat([system, *history], dim=1)

        # The whole prompt, anew each turn; its cache is then the one of the conversation that keeps it.
        full_s, full_cache = timed(lambda: prefill(read, full), repeats=1 if count > 100 else 3)  # noqa: B023
        kept_s, _ = timed(lambda: read(turn(), full_cache), undo=lambda: full_cache.crop(-TURN_TOKENS))  # noqa: B023

        # The memory of the same turns, and a cache over [system][memory].
        memory = None
        for ids in history[:-RECENT]:
            memory = model.compress(torch.cat([ids, readouts], dim=1), memory=memory)
        prefix = DynamicCache()
        read(system, prefix)
        language_model(inputs_embeds=memory.flat()[None].to(model.dtype), past_key_values=prefix, use_cache=True)
        verbatim = torch.cat(history[-RECENT:], dim=1)

        def one_more_turn():
            longer = model.compress(torch.cat([history[-RECENT], readouts], dim=1), memory=memory)  # noqa: B023
            new = longer.flat()[-k:][None].to(model.dtype)
            language_model(inputs_embeds=new, past_key_values=prefix, use_cache=True)  # noqa: B023
            read(torch.cat([verbatim, turn()], dim=1), prefix)  # noqa: B023

        def undo():
            prefix.crop(-(k + (RECENT + 1) * TURN_TOKENS))  # noqa: B023

        cost_s, _ = timed(one_more_turn, undo=undo)
        result["full_prefill_s"].append(round(full_s, 4))
        result["full_kept_kv_turn_s"].append(round(kept_s, 4))
        result["turn_cost_s"].append(round(cost_s, 4))
        one_more_turn()
        result["kv_bytes_full"].append(cache_bytes(full_cache))
        result["kv_bytes_memory"].append(cache_bytes(prefix))
        result["memory_bytes"].append(memory.nbytes)
        result["decode_ms_full"].append(round(decode_ms(read, full_cache), 2))
        result["decode_ms_memory"].append(round(decode_ms(read, prefix), 2))
    result["flatness"] = round(result["turn_cost_s"][-1] / result["turn_cost_s"][0], 3)
    result[f"speedup_{turns[-1]}"] = round(result["full_prefill_s"][-1] / result["turn_cost_s"][-1], 1)
    result[f"kv_ratio_{turns[-1]}"] = round(result["kv_bytes_full"][-1] / result["kv_bytes_memory"][-1], 1)
    return result


def prefill(read, ids):
    cache = DynamicCache()
    read(ids, cache)
    return cache


def timed(work, undo=lambda: None, repeats=5):
    """Median seconds of `work`, which `undo` takes back, and its last result."""
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        result = work()
        seconds.append(perf_counter() - started)
        undo()
    return median(seconds), result


def decode_ms(read, cache):
    """Milliseconds for each further token."""
    started = perf_counter()
    for _ in range(DECODE_STEPS):
        read(torch.tensor([[100]]), cache)
    cache.crop(-DECODE_STEPS)
    return 1000 * (perf_counter() - started) / DECODE_STEPS


def cache_bytes(cache):
    return sum(2 * layer.keys.numel() * layer.keys.element_size() for layer in cache.layers)


def show(result):
    table = Table(title=f"k = {result['k']} vectors an utterance")
    names = [name for name, value in result.items() if isinstance(value, list)]
    for name in names:
        table.add_column(name, justify="right")
    for row in zip(*(result[name] for name in names)):
        table.add_row(*(f"{value:,}" for value in row))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
