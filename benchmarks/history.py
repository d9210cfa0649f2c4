"""What a long history costs: one more turn with a memory, against the whole prompt anew or kept in its own cache.

Run without arguments from the repository root, on build/smollm2-135m in bfloat16 with random turns of 20 tokens. The
last line is one line of JSON. `turn_cost` is all work until a reply can begin after one more turn: the compressor
reads it, the language model's cache over [system][memory] grows by its vectors, and the newest turns, `--recent` of
them verbatim, and the new one are computed.
"""

import json
from argparse import ArgumentParser
from statistics import median
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table
from transformers import DynamicCache

from transformers_empathav import EmpathAVForCausalLM
from transformers_empathav.modeling.generation_empathav import CACHE


TURN_TOKENS, DECODE_STEPS = 20, 16


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="build/smollm2-135m")
    parser.add_argument("--turns", type=int, nargs="+", default=[10, 50, 200, 400])
    parser.add_argument("--recent", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options)
    shipped_k = model.config.memory_tokens_per_utterance
    conversation = Conversation(model, max(options.turns))
    full = measure_full(conversation, options.turns)
    results = {}
    for k in sorted({1, shipped_k}):
        if k != shipped_k:  # the values of the vectors do not change the cost
            read_outs = torch.nn.Embedding(k, model.config.compressor_config.hidden_size)
            model.model.compressor.readouts = read_outs.to(model.device, model.dtype)
        model.config.memory_tokens_per_utterance = k
        results[k] = compare(k, options.turns, full, measure_memory(conversation, k, options.turns, options.recent))
        show(results[k])
        if k != shipped_k:
            conversation.model = model = load(options)
    print(json.dumps({"recent": options.recent, **results[1], "shipped_k": results[shipped_k]}))


def load(options):
    model = EmpathAVForCausalLM.from_pretrained(options.checkpoint, dtype=getattr(torch, options.dtype))
    return model.to(options.device).eval()


class Conversation:
    """Random turns, and the language model that reads them."""

    def __init__(self, model, turns):
        self.model = model
        generator = torch.Generator().manual_seed(0)
        vocabulary = model.config.text_config.vocab_size
        ids = torch.randint(100, vocabulary, (turns + 2, 1, TURN_TOKENS), generator=generator)
        self.system, *self.turns = ids.to(model.device)

    def read(self, cache, ids, vectors=None):
        """One forward over memory vectors and tokens, up to the logits from which a reply begins."""
        embeds = self.model.get_input_embeddings()(ids)
        if vectors is not None:
            embeds = torch.cat([vectors[None].to(embeds), embeds], dim=1)
        hidden = self.model.model.language_model(inputs_embeds=embeds, **{CACHE: cache}).last_hidden_state
        return self.model.lm_head(hidden[:, -1:])


@torch.inference_mode()
def measure_full(conversation, turns):
    """The whole prompt, computed anew for each turn or kept in its own cache."""
    result = {name: [] for name in ("full_prefill_s", "full_kept_kv_turn_s", "kv_bytes_full", "decode_ms_full")}
    for count in turns:
        prompt = torch.cat([conversation.system, *conversation.turns[:count]], dim=1)
        new = conversation.turns[count]
        anew_s, cache = timed(lambda: prefill(conversation, prompt), repeats=1 if count > 100 else 3)  # noqa: B023
        result["full_prefill_s"].append(round(anew_s, 4))
        result["kv_bytes_full"].append(cache_bytes(cache))
        kept_s, _ = timed(lambda: conversation.read(cache, new), lambda: cache.crop(-TURN_TOKENS))  # noqa: B023
        result["full_kept_kv_turn_s"].append(round(kept_s, 4))
        result["decode_ms_full"].append(round(decode_ms(conversation, cache), 2))
    return result


@torch.inference_mode()
def measure_memory(conversation, k, turns, recent):
    """A cache over [system][memory], grown by one utterance, and the verbatim turns behind it."""
    result = {name: [] for name in ("turn_cost_s", "kv_bytes_memory", "memory_bytes", "decode_ms_memory")}
    model = conversation.model
    read_outs = torch.full((1, k), model.config.memory_token_id, device=model.device)
    for count in turns:
        *older, leaving = conversation.turns[: count - recent]
        memory = None
        for ids in older:
            memory = model.compress(torch.cat([ids, read_outs], dim=1), memory=memory)
        cache = DynamicCache()
        conversation.read(cache, conversation.system)
        model.model.language_model(inputs_embeds=memory.flat()[None].to(model.dtype), **{CACHE: cache})
        verbatim = torch.cat(conversation.turns[count - recent : count + 1], dim=1)

        def one_more_turn():
            longer = model.compress(torch.cat([leaving, read_outs], dim=1), memory=memory)  # noqa: B023
            conversation.read(cache, verbatim, longer.flat()[-k:])  # noqa: B023

        cost_s, _ = timed(one_more_turn, lambda: cache.crop(-(k + (recent + 1) * TURN_TOKENS)))  # noqa: B023
        one_more_turn()
        result["turn_cost_s"].append(round(cost_s, 4))
        result["kv_bytes_memory"].append(cache_bytes(cache))
        result["memory_bytes"].append(memory.nbytes)
        result["decode_ms_memory"].append(round(decode_ms(conversation, cache), 2))
    return result


def compare(k, turns, full, memory):
    last = turns[-1]
    return {
        "k": k,
        "turns": turns,
        **full,
        **memory,
        "flatness": round(memory["turn_cost_s"][-1] / memory["turn_cost_s"][0], 3),
        f"speedup_{last}": round(full["full_prefill_s"][-1] / memory["turn_cost_s"][-1], 1),
        f"kv_ratio_{last}": round(full["kv_bytes_full"][-1] / memory["kv_bytes_memory"][-1], 1),
    }


def prefill(conversation, ids):
    cache = DynamicCache()
    conversation.read(cache, ids)
    return cache


def timed(work, undo=lambda: None, repeats=5):
    """Median seconds of `work`, which `undo` takes back, and its last result."""
    seconds = []
    for _ in range(repeats):
        wait()
        started = perf_counter()
        result = work()
        wait()
        seconds.append(perf_counter() - started)
        undo()
    return median(seconds), result


def decode_ms(conversation, cache):
    """Milliseconds for each further token, after one that is not counted."""
    token = torch.tensor([[100]], device=conversation.model.device)
    conversation.read(cache, token)
    wait()
    started = perf_counter()
    for _ in range(DECODE_STEPS):
        conversation.read(cache, token)
    wait()
    cache.crop(-DECODE_STEPS - 1)
    return 1000 * (perf_counter() - started) / DECODE_STEPS


def wait():
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
