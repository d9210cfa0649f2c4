"""MambaCompressor: reads a conversation once, turn by turn, and leaves a few vectors for each utterance."""

import hashlib

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .embedding_projection_empathav import EmbeddingProjection
from .state_space_empathav import StateSpaceStack, init_state_space


class MambaCompressor(PreTrainedModel):
    r"""
    A state-space network over the language model's own (frozen) input embeddings (arXiv 2412.17572; Mamba-2:
    arXiv 2405.21060). After each utterance stand read-out tokens; at them it writes the vectors of the memory.

    Reading a conversation in pieces gives what reading it in one go gives: the state in the memory is complete.

    Args:
        config ([`EmpathAVConfig`]): The configuration of the whole model.
    """

    config: EmpathAVConfig
    base_model_prefix = "compressor"
    main_input_name = "inputs_embeds"
    _no_split_modules = ["StateSpaceLayer"]
    # It has no attention, so whatever the language model uses is fine with it.
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
            module.reset(std=0.1 * self.config.initializer_range)
        elif module is self.input_projection:
            # The table's entries are small (0.13 for SmolLM2); the network is built for inputs of order one.
            init.normal_(
                module.weight, std=1.0 / (self.config.text_config.initializer_range * module.in_features**0.5)
            )
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        else:
            init_state_space(module, self.config.compressor_config)

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        readout_mask: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
    ) -> ConversationMemory:
        r"""
        Args:
            inputs_embeds (`torch.Tensor` of shape `(batch, tokens, text_hidden_size)`):
                The language model's embeddings of the utterances; what stands at read-outs is ignored.
            readout_mask (`torch.Tensor` of shape `(batch, tokens)`):
                True at the read-outs.
            attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Ones, then zeros (right padding); a row of zeros has nothing new.
            memory ([`ConversationMemory`], *optional*):
                What was read before; nothing by default.

        Returns:
            [`ConversationMemory`]: `memory` and the vectors of what was read now.

        Raises:
            `ValueError`: another compressor made `memory`.
        """
        self.check(memory)
        if memory is not None and len(memory) != len(inputs_embeds):
            raise ValueError(
                f"{len(inputs_embeds)} rows and a memory of {len(memory)} conversations were given: each row "
                "continues one of its own, see ConversationMemory.select."
            )
        if attention_mask is not None:
            readout_mask = readout_mask & attention_mask.bool()
        per_utterance = self.config.memory_tokens_per_utterance
        hidden_states = self.input_projection(inputs_embeds.to(self.input_projection.weight.dtype))
        already = 0 if memory is None else memory.lengths[:, None]
        turn = (already + readout_mask.cumsum(dim=1) - 1) % per_utterance
        hidden_states = torch.where(
            readout_mask[..., None], self.readouts(turn).to(hidden_states.dtype), hidden_states
        )
        hidden_states, state = self.state_space(
            hidden_states, attention_mask=attention_mask, state=None if memory is None else memory.state
        )
        vectors = self.embedding_projection(hidden_states[readout_mask])
        if memory is None:
            memory = ConversationMemory(
                vectors=vectors.new_zeros(len(inputs_embeds), 0, vectors.shape[-1]),
                lengths=readout_mask.new_zeros(len(inputs_embeds), dtype=torch.long),
                state=state,
                vectors_per_utterance=per_utterance,
                fingerprint=self.config.compressor_fingerprint,
            )
        return memory.extended(vectors, readout_mask.sum(dim=1), state)

    def check(self, memory: ConversationMemory | None):
        """Refuses a memory that another compressor made."""
        if memory is None:
            return
        mixer, state = self.state_space.layers[0].mixer, memory.state
        ours = (self.config.text_config.hidden_size, self.config.memory_tokens_per_utterance)
        ours += (len(self.state_space.layers), tuple(mixer.conv_shape), tuple(mixer.ssm_shape))
        theirs = (memory.vectors.shape[-1], memory.vectors_per_utterance)
        theirs += (len(state.conv), tuple(state.conv.shape[2:]), tuple(state.ssm.shape[2:]))
        known = memory.fingerprint and self.config.compressor_fingerprint
        if theirs != ours or (known and memory.fingerprint != self.config.compressor_fingerprint):
            raise ValueError(
                "The memory is of another checkpoint, whose vectors mean something else here: use that checkpoint, or "
                "compress the conversation again."
            )


def compressor_fingerprint(compressor: MambaCompressor, embeddings: nn.Module) -> str:
    """Digest of the values of a compressor and of the embeddings that it reads, whatever dtype they are held in."""
    digest = hashlib.sha256()
    for name, tensor in [*compressor.state_dict().items(), ("embeddings", embeddings.weight)]:
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()
