"""MambaCompressor: reads a conversation once, utterance by utterance, and outputs a few memory vectors for each."""

from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .layers_empathav import EmbeddingProjection, sinusoids
from .state_space_empathav import Mamba2Mixer, MambaMixer, StateSpaceStack, init_state_space
from .utterance_positions_empathav import utterance_positions
from .utterance_reading_empathav import read_apart


# Gain of the output projection before training: memory vectors then hardly depend on what was read.
CLOSED = 0.05


class MambaCompressor(PreTrainedModel):
    r"""
    A state-space network over the language model's frozen input embeddings (arXiv 2412.17572; Mamba-2: arXiv
    2405.21060). Each utterance is followed by read-out tokens; the outputs at these are the memory vectors.

    The recurrent state is part of the memory, so reading a conversation in pieces gives the same vectors as reading it
    at once. Where `config.carry_state` is false, each utterance begins with an empty state: its vectors are those of
    the utterance alone, however long the conversation is.

    It is initialised to average. Input and output projections nearly undo each other, so a read-out token receives the
    embeddings of the tokens before it. Sinusoids mark the position of each token in its utterance. Training only has
    to learn which tokens go into which vector.

    Args:
        config ([`EmpathAVConfig`]): The configuration of the whole model.
    """

    config: EmpathAVConfig
    base_model_prefix = "compressor"
    main_input_name = "inputs_embeds"
    _no_split_modules = ["MambaCompressor"]  # its layers hand on one state
    # It has no attention, so any attn_implementation of the language model is fine.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: EmpathAVConfig):
        super().__init__(config)
        text_width, width = config.text_config.hidden_size, config.compressor_config.hidden_size
        self.input_projection = nn.Linear(text_width, width, bias=False)
        self.readouts = nn.Embedding(config.memory_tokens_per_utterance, width)
        self.state_space = StateSpaceStack(config.compressor_config)
        self.embedding_projection = EmbeddingProjection(width, text_width, config.text_config.initializer_range)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, EmbeddingProjection):
            module.reset(std=0.0)
            init.copy_(module.linear.weight, CLOSED * torch.eye(*module.linear.weight.shape))
        elif module is self.input_projection:
            self._set_input_gain(self.config.text_config.initializer_range)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.3)
        else:
            init_state_space(module, self.config.compressor_config)
            if isinstance(module, (Mamba2Mixer, MambaMixer)):
                start_by_copying(module)

    def _set_input_gain(self, root_mean_square: float):
        """Scales the embeddings, whose entries are small (0.13 for SmolLM2), to order one, as the network expects."""
        weight = self.input_projection.weight
        init.copy_(weight, torch.eye(*weight.shape) / root_mean_square)

    @torch.no_grad()
    def fit_to(self, embeddings: torch.Tensor, anchor_id: int):
        """Sets input gain, output scale and anchor of an untrained compressor, see [`EmbeddingProjection.fit_to`]."""
        self.embedding_projection.fit_to(embeddings, anchor_id)
        self._set_input_gain(float(self.embedding_projection.scale))

    def open(self):
        """
        Scales up the output projection. Call once before training: a fresh compressor otherwise returns nearly the
        same vector for every input.
        """
        self.embedding_projection.open(gain=1 / CLOSED)

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        readout_mask: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
        role_starts: torch.Tensor | None = None,
    ) -> ConversationMemory:
        r"""
        Args:
            inputs_embeds (`torch.Tensor` of shape `(batch, tokens, text_hidden_size)`):
                Input embeddings of the utterances; those at read-out tokens are ignored.
            readout_mask (`torch.Tensor` of shape `(batch, tokens)`):
                True at read-out tokens.
            attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Ones, then zeros (right padding). A row of zeros adds nothing.
            memory ([`ConversationMemory`], *optional*):
                Memory to continue, one conversation per row; empty by default.
            role_starts (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Where the name of a role begins, see [`find_role_starts`]; 0 by default.

        Returns:
            [`ConversationMemory`]: `memory` extended by the new vectors.

        Raises:
            `ValueError`: If `memory` is of another compressor or of another batch size.
        """
        self.check(memory, rows=len(inputs_embeds))
        weight, device = self.input_projection.weight, inputs_embeds.device
        if memory is None:
            memory = self.empty_memory(len(inputs_embeds))
        if memory.vectors.device != device:
            memory = memory.to(device)
        if attention_mask is None:
            attention_mask = torch.ones_like(readout_mask)
        if role_starts is None:
            role_starts = torch.zeros_like(readout_mask, dtype=torch.long)
        readout_mask = readout_mask & attention_mask.bool()
        if not readout_mask.shape[1]:
            return memory

        per_utterance = self.config.memory_tokens_per_utterance
        count = memory.lengths[:, None] + readout_mask.cumsum(dim=1)
        ends = readout_mask & (count % per_utterance == 0)
        places = utterance_positions(ends, role_starts, attention_mask.bool(), memory.unfinished)
        hidden_states = self.input_projection(inputs_embeds.to(weight.dtype))
        hidden_states = hidden_states + sinusoids(places.position, weight.shape[0]).to(hidden_states.dtype)
        readouts = self.readouts((count - 1) % per_utterance).to(hidden_states.dtype)
        hidden_states = torch.where(readout_mask[..., None], readouts, hidden_states)
        begun = memory.unfinished[:, 0] > 0
        read = self.state_space if self.config.carry_state else partial(read_apart, self.state_space, ends, begun)
        hidden_states, state = read(hidden_states, attention_mask=attention_mask, state=memory.state)
        vectors = self.embedding_projection(hidden_states[readout_mask])
        roles = places.role[readout_mask]
        return memory.append(vectors, roles, readout_mask.sum(dim=1), state, places.unfinished)

    def empty_memory(self, rows: int, **fields) -> ConversationMemory:
        """Memories of `rows` conversations without any utterance; `fields` are further ones of theirs."""
        return ConversationMemory.empty(
            self.state_space.empty_state(rows),
            self.config.text_config.hidden_size,
            self.input_projection.weight.dtype,
            vectors_per_utterance=self.config.memory_tokens_per_utterance,
            **fields,
        )

    def check(self, memory: ConversationMemory | None, fingerprint: str | None = None, rows: int | None = None):
        r"""
        Raises:
            `ValueError`: If `memory` was made by another compressor than this one, whose `fingerprint` may be given,
                or is not of `rows` conversations.
        """
        if memory is None:
            return
        if rows is not None and len(memory) != rows:
            raise ValueError(
                f"{rows} rows and a memory of {len(memory)} conversations were given: each row needs one, see "
                "ConversationMemory.select."
            )
        mixer, state = self.state_space.layers[0].mixer, memory.state
        ours = (self.config.text_config.hidden_size, self.config.memory_tokens_per_utterance)
        ours += (len(self.state_space.layers), tuple(mixer.conv_shape), tuple(mixer.ssm_shape))
        theirs = (memory.vectors.shape[-1], memory.vectors_per_utterance)
        theirs += (len(state.conv), tuple(state.conv.shape[2:]), tuple(state.ssm.shape[2:]))
        known = memory.fingerprint and fingerprint
        if theirs != ours or (known and memory.fingerprint != fingerprint):
            raise ValueError(
                "The memory is of another checkpoint, and this one cannot read its vectors: use that checkpoint, or "
                "compress the conversation again."
            )


@torch.no_grad()
def start_by_copying(mixer: nn.Module):
    """
    Initialises a mixer so that it copies values: the convolution passes on its newest input, and the output projection
    is the transpose of the input projection, which nearly undoes it.
    """
    weight = mixer.in_proj.weight.clone()
    value = weight[mixer.value_rows]
    torch.nn.init.normal_(value, std=value.shape[1] ** -0.5)
    init.copy_(mixer.in_proj.weight, weight)
    init.copy_(mixer.out_proj.weight, 0.5 * value.T)
    taps = 0.2 * mixer.conv1d.weight
    taps[..., -1] += 1
    init.copy_(mixer.conv1d.weight, taps)
