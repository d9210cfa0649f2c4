r"""
What the memory table of an 8B-class language model (docs/benchmarks.md) says, against tensors that hold no numbers.

    python benchmarks/training_memory.py [--layers 32] [--rows 2] [--positions 2048] [--processes 1 2 8]

A language model of Llama-3.1-8B's published shape with LoRA of rank 8 on all seven layers makes two training steps
with gradient checkpointing in torch's fake tensor mode: every operation runs for its shapes alone, and what is held is
counted in bytes. With more than one process its layers are sharded by FSDP2, as recipes/accelerate_configs/fsdp.yaml
does it: embeddings whole, layers and head in parts; this is one of them and the others are pretended. Extractor,
compressor and the loss over the vocabulary are left out, and so is what an allocator wastes. The last line is one line
of JSON, in GB (10^9 bytes): `frozen` and `trained` (adapter, gradients, Adam's moments) as they lie between steps, and
`activations`, the most that a step held above that.
"""

import argparse
import json
import weakref

import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM


SHAPE = dict(
    hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256
)
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Held(TorchDispatchMode):
    """Counts the bytes of tensors that were made within it and are still held, and the most there ever were."""

    def __init__(self, before: list[torch.Tensor]):
        super().__init__()
        self.most = 0
        self.before = {tensor.untyped_storage()._cdata for tensor in before}
        self.held = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if (key := storage._cdata) not in self.before and key not in self.held:
                    self.held[key] = weakref.ref(storage, lambda _, key=key: self.held.pop(key, None))
        # FSDP lets go of what it gathered by making its storage empty, so sizes are asked for anew.
        sizes = (storage.nbytes() for held in list(self.held.values()) if (storage := held()) is not None)
        self.most = max(self.most, sum(sizes))
        return made


def adapted(layers: int, positions: int) -> torch.nn.Module:
    """The language model with its adapter, on the meta device."""
    config = LlamaConfig(
        **SHAPE, num_hidden_layers=layers, max_position_embeddings=positions, attn_implementation="sdpa"
    )
    with torch.device("meta"):
        return get_peft_model(LlamaForCausalLM(config), LoraConfig(r=8, target_modules=LINEAR))


def fake(model: torch.nn.Module):
    """Replaces weights by fake ones of a CPU: bfloat16 where they are frozen, else float32."""
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                dtype = torch.float32 if weight.requires_grad else torch.bfloat16
                made = torch.empty(weight.shape, dtype=dtype)
                module._parameters[name] = torch.nn.Parameter(made, requires_grad=weight.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def shard(model: torch.nn.Module, mesh: DeviceMesh):
    """Shards the layers and the head, and leaves the embeddings whole."""
    decoder = model.base_model.model.model
    for module in (*decoder.layers, model.base_model.model.lm_head):
        fully_shard(module, mesh=mesh)
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.embed_tokens.parameters()))


def own(weight: torch.Tensor) -> int:
    """Bytes of a weight on this process."""
    local = weight.to_local() if hasattr(weight, "to_local") else weight
    return local.numel() * local.element_size()


def measure(layers: int, rows: int, positions: int, processes: int) -> dict[str, float]:
    model = adapted(layers, positions)
    if processes > 1:
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=processes)
        mesh = init_device_mesh("cpu", (processes,))
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake(model)
        if processes > 1:
            shard(model, mesh)
        decoder = model.base_model.model.model.train()
        model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        weights = list(model.parameters())
        optimizer = torch.optim.AdamW([weight for weight in weights if weight.requires_grad], foreach=False)
        frozen = sum(own(weight) for weight in weights if not weight.requires_grad)
        trained = 4 * sum(own(weight) for weight in weights if weight.requires_grad)  # itself, gradient, two moments
        ids, most = torch.zeros(rows, positions, dtype=torch.long), 0
        for _ in range(2):  # the first step makes the moments
            held = Held([getattr(weight, "_local_tensor", weight) for weight in [*weights, *model.buffers()]])
            with held, torch.autocast("cpu", dtype=torch.bfloat16):
                decoder(input_ids=ids).last_hidden_state.float().mean().backward()
            most = held.most
            optimizer.step()
            optimizer.zero_grad()
    if processes > 1:
        torch.distributed.destroy_process_group()
    gradients = trained / 4  # are made within the step, and stand under `trained`
    parts = {"frozen": frozen, "trained": trained, "activations": most - gradients}
    return {name: round(size / 1e9, 3) for name, size in {**parts, "sum": sum(parts.values())}.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=2, help="Sequences of a step: a pair has two.")
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 8])
    options = parser.parse_args()
    results = {count: measure(options.layers, options.rows, options.positions, count) for count in options.processes}
    table = Table("processes", *next(iter(results.values())), title="GB of one process")
    for count, sizes in results.items():
        table.add_row(str(count), *map(str, sizes.values()))
    Console().print(table)
    lists = {name: [sizes[name] for sizes in results.values()] for name in next(iter(results.values()))}
    sizes = {name: getattr(options, name) for name in ("layers", "rows", "positions")}
    print(json.dumps({**sizes, "processes": list(results), **lists}))


if __name__ == "__main__":
    main()
