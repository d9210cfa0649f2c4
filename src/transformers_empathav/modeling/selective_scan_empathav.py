"""The recurrences of Mamba-2 and Mamba-1: fast scans, and readable references that tests compare them with.

Both carry a state `h` over time and compute an output from it at every step:

    h[t] = exp(dt[t] * A) * h[t - 1] + dt[t] * x[t] * B[t]        y[t] = C[t] . h[t] + D * x[t]

In Mamba-2 (https://arxiv.org/abs/2405.21060) `A` is one number per head, so a chunk of time steps becomes a few matrix
products. In Mamba-1 (https://arxiv.org/abs/2312.00752) `A` is a matrix over channels and state, and the recurrence
itself has to be run. A step with `dt = 0` leaves the state unchanged: that is how padding is skipped.

On CUDA the kernels of mamba-ssm are used if that package is installed, otherwise the scans below run there, too.
tests/test_cuda.py compares both with the references. The Mamba-2 kernels multiply float32 matrices in TF32 (relative
errors of 1e-3). At its first call mamba-ssm tries many configurations of each kernel, which takes minutes; the
environment variable `MAMBA_DETERMINISTIC=1` limits that to one.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


# Elements of one block of states in Mamba-1's scan, chosen so that a block fits the CPU cache.
SCAN_BLOCK_ELEMENTS = 1 << 20


class CudaKernels(NamedTuple):
    """The two functions of mamba-ssm that run these recurrences on CUDA."""

    chunk_scan: Callable
    selective_scan: Callable


def cuda_kernels(device: torch.device) -> CudaKernels | None:
    """
    The kernels of mamba-ssm if `device` is CUDA and the package is installed (`pip install mamba-ssm`), else `None`.
    """
    return _import_kernels() if device.type == "cuda" else None


@functools.cache
def _import_kernels():
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return CudaKernels(mamba_chunk_scan_combined, selective_scan_fn)


class LinearRecurrence(torch.autograd.Function):
    """
    Computes all states of `h[t] = decay[t] * h[t - 1] + drive[t]` along the first dimension.

    Args:
        decay (`torch.Tensor` of shape `(steps, ...)`):
            Factors; broadcast where a size is 1.
        drive (`torch.Tensor` of shape `(steps, ...)`):
            What is added to the state at each step.
        state (`torch.Tensor` of shape `(...)`):
            State before the first step.

    Returns:
        `torch.Tensor` of the shape of `drive`: the state after each step.
    """

    @staticmethod
    def forward(ctx, decay, drive, state):
        states = drive.clone()
        last = state
        for factor, entering in zip(decay.unbind(0), states.unbind(0)):
            last = entering.addcmul_(factor, last)
        ctx.save_for_backward(decay, states, state)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_states):
        decay, states, state = ctx.saved_tensors
        # The same recurrence in reverse: the gradient of a state comes from its own output and from the next state.
        grad_drive = torch.empty_like(grad_states)
        following = torch.zeros_like(state)
        for factor, read, out in zip(decay.unbind(0)[::-1], grad_states.unbind(0)[::-1], grad_drive.unbind(0)[::-1]):
            following = torch.add(read, following, out=out) * factor
        grad_decay = torch.empty_like(grad_drive)
        torch.mul(grad_drive[0], state, out=grad_decay[0])
        torch.mul(grad_drive[1:], states[:-1], out=grad_decay[1:])
        return grad_decay.sum_to_size(decay.shape), grad_drive, following


def ssd_reference(x, dt, A, B, C, D, state):
    """Mamba-2's recurrence, one step at a time: slow, for tests. Arguments as in [`ssd_scan`]."""
    heads_per_group = x.shape[2] // B.shape[2]
    B, C = (t.repeat_interleave(heads_per_group, dim=2) for t in (B, C))
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :]
        outputs.append((state * C[:, t, :, None, :]).sum(-1) + D[:, None] * x[:, t])
    return torch.stack(outputs, dim=1), state


def ssd_scan(x, dt, A, B, C, D, state, chunk_size=64):
    """
    Mamba-2's recurrence by chunks of time steps, as matrix products (state space duality, arXiv 2405.21060).

    Args:
        x (`torch.Tensor` of shape `(batch, length, heads, head_dim)`):
            Inputs.
        dt (`torch.Tensor` of shape `(batch, length, heads)`):
            Step sizes, not negative; 0 skips a position.
        A (`torch.Tensor` of shape `(heads,)`):
            Rates of decay, negative.
        B (`torch.Tensor` of shape `(batch, length, groups, state_size)`):
            Input weights of each step (input to state); a group serves `heads / groups` consecutive heads.
        C (`torch.Tensor` of shape `(batch, length, groups, state_size)`):
            Output weights of each step (state to output).
        D (`torch.Tensor` of shape `(heads,)`):
            Weight of the input in the output.
        state (`torch.Tensor` of shape `(batch, heads, head_dim, state_size)`):
            The state before the first position.
        chunk_size (`int`, *optional*, defaults to 64):
            Largest number of positions per chunk.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: the outputs, in the shape of `x`, and the state after the last position.
    """
    with torch.autocast(x.device.type, enabled=False):
        if (kernels := cuda_kernels(x.device)) is not None:
            return kernels.chunk_scan(x, dt, A, B, C, chunk_size, D=D, initial_states=state, return_final_states=True)
        return _ssd_chunked(*(t.to(state.dtype) for t in (x, dt, A, B, C, D)), state, chunk_size)


def _ssd_chunked(x, dt, A, B, C, D, state, chunk_size):
    batch, length, heads, head_dim = x.shape
    groups, state_size = B.shape[2:]
    # Chunks of equal length: 65 positions are 2 chunks of 33, not 64 and 1 with 63 of padding.
    chunks = -(-length // chunk_size)
    size = -(-length // chunks)
    if padding := chunks * size - length:
        x, B, C = (F.pad(t, (0, 0, 0, 0, 0, padding)) for t in (x, B, C))
        dt = F.pad(dt, (0, 0, 0, padding))

    x = x.reshape(batch, chunks, size, groups, -1, head_dim)
    B = B.reshape(batch, chunks, size, groups, state_size).transpose(2, 3)
    C = C.reshape(batch, chunks, size, groups, state_size).transpose(2, 3)
    dt = dt.reshape(batch, chunks, size, groups, -1)
    elapsed = torch.cumsum(dt * A.view(groups, -1), dim=2)  # log of the decay since the start of the chunk
    # dt enters as its logarithm, so that one exponential gives decay times dt; exp(-inf) skips a position.
    log_dt = dt.clamp(min=torch.finfo(dt.dtype).tiny).log().masked_fill(dt == 0, -torch.inf)
    entered = elapsed - log_dt

    # Within a chunk: position l reads position s <= l through C[l] . B[s], decayed from s to l, and its own x by D.
    after = torch.full((size, size), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
    until, since = (t.permute(0, 1, 3, 4, 2) for t in (elapsed, entered))
    decay = (until.unsqueeze(-1) - since.unsqueeze(-2)).add_(after).exp_()
    skip = D.view(groups, -1, 1).expand(-1, -1, size).diag_embed()
    weights = torch.addcmul(skip, decay, (C @ B.transpose(-1, -2)).unsqueeze(3))
    within = weights @ x.permute(0, 1, 3, 4, 2, 5)  # (batch, chunks, groups, heads of a group, size, head_dim)

    # What each chunk adds to the state, and the state at each chunk's start.
    to_end = torch.exp(elapsed[:, :, -1:] - entered)
    added = (x * to_end.unsqueeze(-1)).permute(0, 1, 3, 4, 5, 2).flatten(3, 4) @ B
    added = added.view(batch, chunks, heads, head_dim, state_size).transpose(0, 1)
    decay = torch.exp(elapsed[:, :, -1]).view(batch, chunks, heads, 1, 1).transpose(0, 1)
    states = LinearRecurrence.apply(decay, added, state)
    before = torch.cat([state.unsqueeze(0), states[:-1]]).transpose(0, 1)

    # What each position reads of the state at its chunk's start.
    before = before.reshape(batch, chunks, groups, -1, state_size)
    carried = (C @ before.transpose(-1, -2)).unflatten(-1, (-1, head_dim)).transpose(2, 3)
    y = (carried * torch.exp(elapsed).unsqueeze(-1)).add_(within.permute(0, 1, 4, 2, 3, 5))
    return y.reshape(batch, chunks * size, heads, head_dim)[:, :length], states[-1]


def selective_scan_reference(x, dt, A, B, C, D, state):
    """Mamba-1's recurrence, one step at a time: slow, for tests. Arguments as in [`selective_scan`]."""
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * A)
        state = decay * state + (dt[:, t] * x[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * x[:, t])
    return torch.stack(outputs, dim=1), state


def selective_scan(x, dt, A, B, C, D, state):
    """
    Mamba-1's recurrence (selective scan, arXiv 2312.00752), in blocks of time steps that fit the CPU cache.

    With gradients only the states between blocks are stored; the backward pass computes each block again.

    Args:
        x (`torch.Tensor` of shape `(batch, length, channels)`):
            Inputs.
        dt (`torch.Tensor` of shape `(batch, length, channels)`):
            Step sizes, not negative; 0 skips a position.
        A (`torch.Tensor` of shape `(channels, state_size)`):
            Rates of decay, negative.
        B (`torch.Tensor` of shape `(batch, length, state_size)`):
            Input weights of each step (input to state).
        C (`torch.Tensor` of shape `(batch, length, state_size)`):
            Output weights of each step (state to output).
        D (`torch.Tensor` of shape `(channels,)`):
            Weight of the input in the output.
        state (`torch.Tensor` of shape `(batch, channels, state_size)`):
            The state before the first position.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: the outputs, in the shape of `x`, and the state after the last position.
    """
    with torch.autocast(x.device.type, enabled=False):
        arguments = [t.to(state.dtype) for t in (x, dt, A, B, C, D)]
        if (kernels := cuda_kernels(x.device)) is not None:
            return _selective_scan_kernel(kernels.selective_scan, *arguments, state)
        return _selective_scan_blocks(*arguments, state)


def _selective_scan_blocks(x, dt, A, B, C, D, state):
    steps = max(1, SCAN_BLOCK_ELEMENTS // state.numel())
    inputs = [t.transpose(0, 1).split(steps) for t in (x, dt, B, C)]
    outputs = []
    for block in zip(*inputs):
        if torch.is_grad_enabled():
            y, state = checkpoint(_scan_block, *block, A, state, use_reentrant=False, preserve_rng_state=False)
        else:
            y, state = _scan_block(*block, A, state)
        outputs.append(y)
    return torch.cat(outputs).transpose(0, 1) + D * x, state


def _scan_block(x, dt, B, C, A, state):
    """Mamba-1's recurrence over one block, time first and without `D`, with all its states in memory at once."""
    decay = torch.exp(dt.unsqueeze(-1) * A)
    states = LinearRecurrence.apply(decay, (dt * x).unsqueeze(-1) * B.unsqueeze(-2), state)
    # The last state is copied: a view would keep all states in memory until the backward pass.
    return torch.einsum("tbcn,tbn->tbc", states, C), states[-1].clone()


def _selective_scan_kernel(kernel, x, dt, A, B, C, D, state):
    """
    Mamba-1's recurrence by mamba-ssm's kernel, which takes no initial state and gives no gradient to its final one.

    Therefore the sequence is extended by `state_size` positions on both sides. Position k before it writes component k
    of the initial state: its `B` is unit vector k, and its `x` makes up for the decay that follows. The `dt` of these
    positions keeps that factor below e. Position k after it, with `dt = 0` and `C` = unit vector k, reads component k
    of the final state.
    """
    batch, length, channels = x.shape
    size = A.shape[-1]
    unit = torch.eye(size, dtype=x.dtype, device=x.device).expand(batch, -1, -1)
    nothing = x.new_zeros(batch, size, channels)
    step = 1 / (size * A.detach().abs().amax(dim=-1).clamp(min=1))
    later = torch.arange(size - 1, -1, -1, dtype=x.dtype, device=x.device)
    loading = (state * torch.exp(-A * step[:, None] * later) / step[:, None]).transpose(1, 2)

    u = torch.cat([loading, x, nothing], dim=1)
    delta = torch.cat([step.expand(batch, size, -1), dt, nothing], dim=1)
    B = torch.cat([unit, B, torch.zeros_like(unit)], dim=1)
    C = torch.cat([torch.zeros_like(unit), C, unit], dim=1)
    u, delta, B, C = (t.transpose(1, 2).contiguous() for t in (u, delta, B, C))
    y = kernel(u, delta, A, B, C, D)
    _, y, state = y.split([size, length, size], dim=-1)
    return y.transpose(1, 2), state
