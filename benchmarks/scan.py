"""
Speed of the state-space stack against transformers' Mamba-2 and Mamba-1, with the same weights.

    python benchmarks/scan.py
    python benchmarks/scan.py --device cuda --rounds 20

Candidates take turns, so that a busy machine slows all of them alike, and the best of the rounds counts, after one
that does not. The floor is the time of the matrix products alone: in_proj, out_proj and the four batched products of
the chunked form. On CUDA with mamba-ssm our stack runs with its kernels and without; transformers' models use them too
where causal-conv1d is installed beside it.
"""

import argparse
import json
import os
import time
from unittest import mock


# Threads that spin while they wait for each other lose whole time slices to whatever else runs; must precede torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch  # noqa: E402
from transformers import Mamba2Config, Mamba2Model, MambaConfig, MambaModel, logging  # noqa: E402

from transformers_empathav.modeling import selective_scan_empathav as scans
from transformers_empathav.modeling.state_space_empathav import StateSpaceStack


HIDDEN, LAYERS, HEADS, HEAD_DIM, STATE, CHUNK = 512, 8, 16, 64, 64, 64
SHAPES = [(1, 4096), (8, 256)]


def build(config, reference_class, reference_config):
    """Our stack and transformers' model with the same random weights."""
    reference = reference_class(reference_config).eval()
    stack = StateSpaceStack(config).eval()
    weights = {name: weight for name, weight in reference.state_dict().items() if not name.startswith("embeddings.")}
    stack.load_state_dict(weights)
    return stack, reference


def floor_products(batch, length, dtype, device):
    """Operands of the matrix products of one layer."""
    chunks, inner = batch * length // CHUNK, HEADS * HEAD_DIM
    shapes = [
        ((batch * length, HIDDEN), (HIDDEN, 2 * inner + 2 * STATE + HEADS)),
        ((batch * length, inner), (inner, HIDDEN)),
        ((chunks, CHUNK, STATE), (chunks, STATE, CHUNK)),
        ((chunks * HEADS, CHUNK, CHUNK), (chunks * HEADS, CHUNK, HEAD_DIM)),
        ((chunks, inner, CHUNK), (chunks, CHUNK, STATE)),
        ((chunks, CHUNK, STATE), (chunks, STATE, inner)),
    ]
    return [tuple(torch.randn(shape).to(device, dtype) for shape in pair) for pair in shapes]


def candidates(models, batch, length, dtype, device):
    """Functions to time, by name; each returns its output."""
    inputs = torch.randn(batch, length, HIDDEN).to(device, dtype)
    products = floor_products(batch, length, dtype, device)
    kernels = scans.cuda_kernels(torch.device(device))

    def plain(function):
        def run():
            with mock.patch.object(scans, "cuda_kernels", lambda device: None):
                return function()

        return run

    def forward(model):
        with torch.no_grad():
            if isinstance(model, StateSpaceStack):
                return model(inputs)[0]
            return model(inputs_embeds=inputs).last_hidden_state

    def forward_backward(model):
        model.zero_grad()
        model.train()
        out = model(inputs)[0] if isinstance(model, StateSpaceStack) else model(inputs_embeds=inputs).last_hidden_state
        out.float().square().mean().backward()
        model.eval()

    def floor():
        for _ in range(LAYERS):
            for left, right in products:
                torch.matmul(left, right)

    named = {name: lambda model=model: forward(model) for name, model in models.items()}
    named["matmul floor"] = floor
    if dtype == torch.float32:
        for name in ("ours, Mamba-2", "transformers Mamba-2"):
            named[name + ", fwd+bwd"] = lambda model=models[name]: forward_backward(model)
    if kernels is not None:
        ours = {name: function for name, function in named.items() if name.startswith("ours")}
        named |= {f"{name}, no kernels": plain(function) for name, function in ours.items()}
    return named


def best_times(named, rounds, seconds):
    """Best time of each function, called in turn; one that has used up `seconds` is not called again."""
    times = {name: [] for name in named}
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    for round_ in range(-1, rounds):
        for name, function in named.items():
            if sum(times[name]) < seconds:
                wait()
                start = time.perf_counter()
                function()
                wait()
                if round_ >= 0:
                    times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}, {name: len(taken) for name, taken in times.items()}


def relative_error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="calls of each candidate")
    parser.add_argument("--seconds", type=float, default=40, help="time after which a candidate is not called again")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="dtypes of the parameters")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    logging.set_verbosity_error()

    sizes = dict(hidden_size=HIDDEN, num_hidden_layers=LAYERS, vocab_size=8)
    sizes2 = dict(sizes, num_heads=HEADS, head_dim=HEAD_DIM, state_size=STATE, n_groups=1)
    ours2, reference2 = build(Mamba2Config(**sizes2, chunk_size=CHUNK), Mamba2Model, Mamba2Config(**sizes2))
    ours1, reference1 = build(MambaConfig(**sizes), MambaModel, MambaConfig(**sizes))
    models = {
        "ours, Mamba-2": ours2,
        "transformers Mamba-2": reference2,
        "ours, Mamba-1": ours1,
        "transformers Mamba-1": reference1,
    }

    summary = {}
    for dtype in (getattr(torch, name) for name in args.dtypes):
        for model in models.values():
            model.to(args.device, dtype)
        for batch, length in SHAPES:
            named = candidates(models, batch, length, dtype, args.device)
            times, calls = best_times(named, args.rounds, args.seconds)
            print(f"\n{batch} x {length}, {str(dtype).removeprefix('torch.')}")
            for name, taken in times.items():
                to_floor = taken / times["matmul floor"]
                print(
                    f"  {name:32s} {1000 * taken:9.2f} ms  {to_floor:6.2f} x floor  (best of {calls[name]})",
                    flush=True,
                )
            if dtype == torch.float32 and batch == 1:
                summary = summarise(named, times, length)
    if summary:
        print(json.dumps(summary))


def summarise(named, times, length):
    outputs = {name: named[name]() for name in named if name.endswith(("Mamba-2", "Mamba-1"))}
    errors = [relative_error(outputs[f"ours, {v}"], outputs[f"transformers {v}"]) for v in ("Mamba-2", "Mamba-1")]
    ours = times["ours, Mamba-2"]
    figures = {
        "ours_s": ours,
        "transformers_mamba2_s": times["transformers Mamba-2"],
        "transformers_mamba_s": times["transformers Mamba-1"],
        "gemm_floor_s": times["matmul floor"],
        "ratio_vs_mamba2": times["transformers Mamba-2"] / ours,
        "ratio_vs_mamba": times["transformers Mamba-1"] / ours,
        "ratio_mamba1_vs_mamba": times["transformers Mamba-1"] / times["ours, Mamba-1"],
        "fwdbwd_ratio_vs_mamba2": times["transformers Mamba-2, fwd+bwd"] / times["ours, Mamba-2, fwd+bwd"],
        "ratio_to_floor": ours / times["matmul floor"],
        "max_rel_err": max(errors),
    }
    return {"length": length} | {name: float(f"{value:.4g}") for name, value in figures.items()}


if __name__ == "__main__":
    main()
