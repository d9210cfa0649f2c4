"""A stack of Mamba-2 or Mamba-1 layers whose state is a value, so that a sequence can be read in pieces."""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from .causal_conv_empathav import CausalConv1d
from .selective_scan_empathav import selective_scan, ssd_scan


HALF = (torch.bfloat16, torch.float16)
# Without gradients, long inputs are read in pieces of so many tokens over the whole batch, but at least so many
# positions. Smaller pieces fit the CPU cache better, but on a busy machine each operation has to wait for its threads.
TOKENS_AT_ONCE, POSITIONS_AT_ONCE = 2048, 64


@dataclass
class StateSpaceState:
    """
    Recurrent state of a [`StateSpaceStack`], to continue a sequence from. Its size does not depend on the tokens read.

    Both tensors are `float32` (`float64` for a stack in `float64`), whatever the dtype of the parameters.

    Args:
        conv (`torch.Tensor` of shape `(layers, batch, channels, conv_kernel - 1)`):
            The last inputs of each layer's causal convolution.
        ssm (`torch.Tensor` of shape `(layers, batch, heads, head_dim, state_size)`):
            Each layer's recurrent state; for Mamba-1 of shape `(layers, batch, channels, state_size)`.
    """

    conv: torch.Tensor
    ssm: torch.Tensor

    def to(self, device) -> "StateSpaceState":
        """The same state on another device."""
        return StateSpaceState(self.conv.to(device), self.ssm.to(device))

    def select(self, rows) -> "StateSpaceState":
        """The states of some rows of the batch; `rows` is a `list`, a `slice` or a tensor of indices."""
        return StateSpaceState(self.conv[:, rows], self.ssm[:, rows])

    def detach(self) -> "StateSpaceState":
        """The same state, detached from the graph."""
        return StateSpaceState(self.conv.detach(), self.ssm.detach())


def compute_dtype(dtype, device):
    """Dtype to compute in: that of the weights, or float32 on a CPU without half-precision arithmetic."""
    if device.type != "cpu" or dtype not in HALF:
        return dtype
    return dtype if dtype == torch.bfloat16 and cpu_multiplies_bfloat16() else torch.float32


@functools.cache
def cpu_multiplies_bfloat16():
    """Whether this CPU has instructions for matrix products in bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Projection(nn.Linear):
    """A linear layer that computes in float32 if its input is in float32, also with half-precision weights."""

    def forward(self, x):
        if x.dtype != torch.float32 or self.weight.dtype not in HALF:
            return super().forward(x)
        return F.linear(x, self.weight.float(), None if self.bias is None else self.bias.float())


class GroupRMSNorm(nn.Module):
    """RMS norm, computed separately over `groups` equal parts of the last dimension."""

    def __init__(self, size, eps, groups=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps
        self.groups = groups

    def forward(self, x):
        parts = x.unflatten(-1, (self.groups, -1))
        return F.rms_norm(parts, parts.shape[-1:], eps=self.eps).flatten(-2) * self.weight.to(x.dtype)


class Mamba2Mixer(nn.Module):
    """Mamba-2's token mixer (arXiv 2405.21060); parameters are named as in transformers."""

    def __init__(self, config):
        super().__init__()
        self.inner = int(config.expand * config.hidden_size)
        self.value_rows = slice(self.inner, 2 * self.inner)  # of in_proj: gate, x, B, C, dt
        self.heads, self.head_dim = config.num_heads, config.head_dim
        self.groups, self.state_size = config.n_groups, config.state_size
        self.chunk_size = config.chunk_size
        self.time_step_limit = config.time_step_limit
        self.act = ACT2FN[config.hidden_act]
        channels = self.inner + 2 * self.groups * self.state_size
        self.in_proj = Projection(config.hidden_size, self.inner + channels + self.heads, bias=config.use_bias)
        self.conv1d = CausalConv1d(channels, config)
        self.dt_bias = nn.Parameter(torch.empty(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads))
        self.D = nn.Parameter(torch.empty(self.heads))
        self.norm = GroupRMSNorm(self.inner, config.layer_norm_epsilon, self.groups)
        self.out_proj = Projection(self.inner, config.hidden_size, bias=config.use_bias)
        self.conv_shape = (channels, config.conv_kernel - 1)
        self.ssm_shape = (self.heads, self.head_dim, self.state_size)

    def forward(self, hidden_states, conv_state, ssm_state, mask=None, lengths=None):
        projected = self.in_proj(hidden_states)
        gate, xBC, dt = projected.split([self.inner, self.conv_shape[0], self.heads], dim=-1)
        xBC, conv_state = self.conv1d(xBC, conv_state, lengths)
        x, B, C = self.act(xBC).split([self.inner] + [self.groups * self.state_size] * 2, dim=-1)
        precise = ssm_state.dtype
        dt = F.softplus(dt.to(precise) + self.dt_bias.to(precise)).clamp(*self.time_step_limit)
        if mask is not None:
            dt = dt * mask.unsqueeze(-1)
        y, ssm_state = ssd_scan(
            x.unflatten(-1, (self.heads, self.head_dim)),
            dt,
            -torch.exp(self.A_log.to(precise)),
            B.unflatten(-1, (self.groups, self.state_size)),
            C.unflatten(-1, (self.groups, self.state_size)),
            self.D.to(precise),
            ssm_state,
            self.chunk_size,
        )
        y = self.norm(y.flatten(-2) * F.silu(gate.to(precise)))
        return self.out_proj(y.to(hidden_states.dtype)), conv_state, ssm_state


class MambaMixer(nn.Module):
    """Mamba-1's token mixer (arXiv 2312.00752); parameters are named as in transformers."""

    def __init__(self, config):
        super().__init__()
        self.inner = config.intermediate_size
        self.value_rows = slice(self.inner)  # of in_proj: x, gate
        self.rank, self.state_size = int(config.time_step_rank), config.state_size
        self.act = ACT2FN[config.hidden_act]
        self.in_proj = Projection(config.hidden_size, 2 * self.inner, bias=config.use_bias)
        self.conv1d = CausalConv1d(self.inner, config)
        self.x_proj = Projection(self.inner, self.rank + 2 * self.state_size, bias=False)
        self.dt_proj = Projection(self.rank, self.inner, bias=True)
        self.A_log = nn.Parameter(torch.empty(self.inner, self.state_size))
        self.D = nn.Parameter(torch.empty(self.inner))
        self.out_proj = Projection(self.inner, config.hidden_size, bias=config.use_bias)
        self.conv_shape = (self.inner, config.conv_kernel - 1)
        self.ssm_shape = (self.inner, self.state_size)

    def forward(self, hidden_states, conv_state, ssm_state, mask=None, lengths=None):
        x, gate = self.in_proj(hidden_states).chunk(2, dim=-1)
        x, conv_state = self.conv1d(x, conv_state, lengths)
        x = self.act(x)
        dt, B, C = self.x_proj(x).split([self.rank, self.state_size, self.state_size], dim=-1)
        precise = ssm_state.dtype
        dt = F.softplus(self.dt_proj(dt).to(precise))
        if mask is not None:
            dt = dt * mask.unsqueeze(-1)
        y, ssm_state = selective_scan(x, dt, -torch.exp(self.A_log.to(precise)), B, C, self.D.to(precise), ssm_state)
        y = y * F.silu(gate.to(precise))
        return self.out_proj(y.to(hidden_states.dtype)), conv_state, ssm_state


class StateSpaceLayer(GradientCheckpointingLayer):
    """One layer: norm, mixer and residual connection."""

    def __init__(self, config):
        super().__init__()
        self.norm = GroupRMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = Mamba2Mixer(config) if config.model_type == "mamba2" else MambaMixer(config)

    def forward(self, residual, conv_state, ssm_state, mask=None, lengths=None):
        hidden_states = self.norm(residual).to(compute_dtype(self.norm.weight.dtype, residual.device))
        hidden_states, conv_state, ssm_state = self.mixer(hidden_states, conv_state, ssm_state, mask, lengths)
        return residual + hidden_states, conv_state, ssm_state


class StateSpaceStack(nn.Module):
    r"""
    The layers of a Mamba-2 or Mamba-1 model without its token embeddings; reads vectors.

    Training, one pass over a sequence, and continuation by pieces of any length run the same code. Parameters have the
    names of transformers' `Mamba2Model` and `MambaModel`, so their weights load.

    Args:
        config ([`~transformers.Mamba2Config`] or [`~transformers.MambaConfig`]): Sizes of the layers.

    Raises:
        `ValueError`: If `config` is of another model type.
    """

    def __init__(self, config):
        super().__init__()
        if config.model_type not in ("mamba2", "mamba"):
            raise ValueError(
                f"A state-space stack is built from a Mamba2Config or MambaConfig, but the model type is "
                f"{config.model_type!r}: use 'mamba2' or 'mamba'."
            )
        self.config = config
        self.layers = nn.ModuleList([StateSpaceLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm_f = GroupRMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.apply(lambda module: init_state_space(module, config))

    def empty_state(self, batch: int, device: torch.device | None = None) -> StateSpaceState:
        """The state before the first token for `batch` rows: zeros, where the weights are unless `device` is given."""
        mixer, weight = self.layers[0].mixer, self.norm_f.weight
        if device is None:
            device = "cpu" if weight.is_meta else weight.device  # offloaded weights are on the device "meta"
        dtype = torch.promote_types(weight.dtype, torch.float32)
        shapes = [(len(self.layers), batch, *shape) for shape in (mixer.conv_shape, mixer.ssm_shape)]
        return StateSpaceState(*(torch.zeros(shape, dtype=dtype, device=device) for shape in shapes))

    def _fitting(self, state, inputs_embeds):
        """Checks the shape of `state` and brings it to the right dtype and device; zeros for `None`."""
        fresh = self.empty_state(len(inputs_embeds), inputs_embeds.device)
        if state is None:
            return fresh
        shapes = [fresh.conv.shape, fresh.ssm.shape]
        if [state.conv.shape, state.ssm.shape] != shapes:
            raise ValueError(
                f"The state has shapes {tuple(state.conv.shape)} and {tuple(state.ssm.shape)}, but {tuple(shapes[0])} "
                f"and {tuple(shapes[1])} are needed here: pass a state of the same stack, one row for each row of "
                "inputs_embeds."
            )
        return StateSpaceState(state.conv.to(fresh.conv), state.ssm.to(fresh.ssm))

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        state: StateSpaceState | None = None,
    ) -> tuple[torch.Tensor, StateSpaceState]:
        r"""
        Args:
            inputs_embeds (`torch.Tensor` of shape `(batch, length, hidden_size)`):
                The vectors to read.
            attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*):
                Ones, then zeros in every row (right padding). Padding leaves the state unchanged, and outputs at its
                positions are meaningless. A row of zeros keeps its state.
            state ([`StateSpaceState`], *optional*):
                State to continue from; zeros by default.

        Returns:
            `tuple(torch.Tensor, StateSpaceState)`: hidden states in shape and dtype of `inputs_embeds`, and the state
            after the last position of each row. Gradients flow through both, and into `state`.

        Raises:
            `ValueError`: If the mask is not right-padded, or mask or `state` have another shape.
        """
        batch, length, _ = inputs_embeds.shape
        if attention_mask is not None:
            attention_mask = self._right_padded(attention_mask, batch, length)
        state = self._fitting(state, inputs_embeds)
        if length == 0:
            return inputs_embeds, state

        # Without gradients a long input is read in pieces, so that memory use does not grow with its length.
        positions = length if torch.is_grad_enabled() else max(POSITIONS_AT_ONCE, TOKENS_AT_ONCE // batch)
        pieces = inputs_embeds.split(positions, dim=1)
        masks = [None] * len(pieces) if attention_mask is None else attention_mask.split(positions, dim=1)
        outputs = []
        for piece, mask in zip(pieces, masks):
            output, state = self._read(piece, mask, state)
            outputs.append(output)
        return torch.cat(outputs, dim=1), state

    def _read(self, inputs_embeds, mask, state):
        lengths = None if mask is None else mask.sum(dim=1)
        dtype = compute_dtype(self.norm_f.weight.dtype, inputs_embeds.device)
        residual_dtype = torch.promote_types(dtype, torch.float32) if self.config.residual_in_fp32 else dtype
        hidden_states = inputs_embeds.to(residual_dtype)
        conv_states, ssm_states = [], []
        for layer, conv_state, ssm_state in zip(self.layers, state.conv, state.ssm):
            hidden_states, conv_state, ssm_state = layer(hidden_states, conv_state, ssm_state, mask, lengths)
            conv_states.append(conv_state)
            ssm_states.append(ssm_state)
        state = StateSpaceState(torch.stack(conv_states).to(state.conv.dtype), torch.stack(ssm_states))
        return self.norm_f(hidden_states).to(inputs_embeds.dtype), state

    @staticmethod
    def _right_padded(attention_mask, batch, length):
        if attention_mask.shape != (batch, length):
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}, but inputs_embeds needs {(batch, length)}: "
                f"give one value for each position."
            )
        mask = attention_mask.bool()
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError(
                "attention_mask must be ones, then zeros in every row, because a state can only be continued after "
                "what was read: pad on the right (tokenizer.padding_side = 'right')."
            )
        return mask


@torch.no_grad()
def init_state_space(module: nn.Module, config):
    r"""
    Initialises a mixer as transformers' `Mamba2PreTrainedModel` and `MambaPreTrainedModel` do; leaves other modules as
    they are. Call it from `_init_weights` for every module, after the general initialisation.

    Args:
        module (`nn.Module`): Any module.
        config ([`~transformers.Mamba2Config`] or [`~transformers.MambaConfig`]): The configuration of its stack.
    """
    if not isinstance(module, (Mamba2Mixer, MambaMixer)):
        return
    step_bias = module.dt_bias if isinstance(module, Mamba2Mixer) else module.dt_proj.bias
    span = math.log(config.time_step_min), math.log(config.time_step_max)
    steps = torch.empty_like(step_bias, dtype=torch.float32).uniform_(*span).exp().clamp(min=config.time_step_floor)
    init.copy_(step_bias, steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus
    rates = torch.arange(1, module.A_log.shape[-1] + 1, dtype=torch.float32, device=module.A_log.device)
    init.copy_(module.A_log, rates.log().expand_as(module.A_log))
    init.ones_(module.D)

    std = config.initializer_range
    init.normal_(module.in_proj.weight, std=std)
    if isinstance(module, MambaMixer):
        init.normal_(module.x_proj.weight, std=std)
        scale = module.rank**-0.5 * config.time_step_scale
        if config.time_step_init_scheme == "constant":
            init.constant_(module.dt_proj.weight, scale)
        else:
            init.uniform_(module.dt_proj.weight, -scale, scale)
    init.uniform_(module.conv1d.weight, -(config.conv_kernel**-0.5), config.conv_kernel**-0.5)
    bound = module.out_proj.in_features**-0.5
    if config.rescale_prenorm_residual:
        bound /= math.sqrt(config.num_hidden_layers)
    init.uniform_(module.out_proj.weight, -bound, bound)
    for linear in (module.in_proj, module.conv1d, module.out_proj):
        if linear.bias is not None:
            init.zeros_(linear.bias)
