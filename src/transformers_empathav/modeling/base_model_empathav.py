"""EmpathAVModel: extractor, compressor and language model, and how they are loaded, frozen and cast."""

from dataclasses import replace

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import can_return_tuple, torch_compilable_check

from .compressor_fingerprint_empathav import WeightsFingerprint, are_trained, fingerprinted_weights, is_adapted
from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .emotion_extractor_empathav import AudioVisualEmotionExtractor
from .generation_empathav import PLACED_INPUTS, given_inputs, with_known_cache_name
from .mamba_compressor_empathav import MambaCompressor
from .precision_empathav import KeepsFloat32
from .utterance_positions_empathav import find_role_starts


class EmpathAVPreTrainedModel(KeepsFloat32, PreTrainedModel):
    """Base class of the models: loads and initialises weights, and keeps the encoders frozen."""

    config: EmpathAVConfig
    base_model_prefix = "model"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = False  # not the Q-Former; for the LLM pass attn_implementation={"text_config": ...}
    _supports_attention_backend = True
    # Quantizers leave these whole, too: they are small, and what they make is read in place of words.
    _keep_in_fp32_modules = [r"(?:model\.)?extractor", r"(?:model\.)?compressor"]
    _skip_keys_device_placement = ["past_key_values", "cache", "memory"]

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As in transformers; the encoders stay frozen."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.freeze_encoders()  # loading makes every weight trainable
        for module in model.modules():
            if isinstance(module, EmpathAVModel) and not is_adapted(module.compressor):
                module.fingerprint.claim(module.fingerprinted_weights(), model.config.compressor_fingerprint)
        return loaded

    def freeze_encoders(self):
        """Freezes audio and vision encoder, as they are after construction and loading."""
        for module in self.modules():
            if isinstance(module, AudioVisualEmotionExtractor):
                module.audio_tower.requires_grad_(False)
                module.vision_tower.requires_grad_(False)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """TRL and PEFT ask by this older name, of which transformers would warn their users."""
        return self.is_activation_checkpointing

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=self.config.initializer_range)


class EmpathAVModel(EmpathAVPreTrainedModel):
    r"""
    Extractor, compressor and language model without the LM head.

    Emotion and memory vectors replace the embeddings of placeholders, so hidden states are as long as `input_ids`.

    Args:
        config ([`EmpathAVConfig`]): The configuration.
    """

    def __init__(self, config: EmpathAVConfig):
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)  # first, since it determines `model.dtype`
        self.extractor = AudioVisualEmotionExtractor(config)
        self.compressor = MambaCompressor(config)
        self.fingerprint = WeightsFingerprint()
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.language_model.set_input_embeddings(value)

    def train(self, mode: bool = True):
        """As in torch, but parts without trainable parameters stay in evaluation mode, without dropout."""
        super().train(mode)
        if mode and are_trained(weights := self.fingerprinted_weights()):
            self.fingerprint.begin_training(weights)
        for part in (self.extractor, self.extractor.audio_tower, self.extractor.vision_tower, self.compressor):
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self

    def fingerprinted_weights(self) -> dict[str, torch.Tensor]:
        """What memories depend on, see [`fingerprinted_weights`]."""
        return fingerprinted_weights(self.compressor, self.get_input_embeddings())

    def compressor_fingerprint(self) -> str | None:
        """Fingerprint that memories made now carry; `None` during a training that changes it from step to step."""
        weights = self.fingerprinted_weights()
        changing = self.training and are_trained(weights)
        self.config.compressor_fingerprint = None if changing else self.fingerprint.get(weights)
        return self.config.compressor_fingerprint

    def check_memory(self, memory: ConversationMemory | None):
        """Raises a `ValueError` if another compressor made `memory`."""
        if memory is not None:
            self.compressor.check(memory, self.compressor_fingerprint())

    def empty_memory(self, rows: int) -> ConversationMemory:
        """Memories of `rows` conversations without any utterance."""
        return self.compressor.empty_memory(rows, fingerprint=self.compressor_fingerprint())

    def get_av_features(self, **media) -> torch.Tensor:
        """
        Emotion vectors of clips: `(clips, num_query_tokens, hidden)`; see [`EmpathAVForCausalLM.get_av_features`].
        """
        return self.extractor(**media)

    def compress(
        self,
        history_input_ids: torch.LongTensor,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
    ) -> ConversationMemory:
        """As [`EmpathAVForCausalLM.compress`], but with gradients and without its check for NaN."""
        fingerprint = self.compressor_fingerprint()
        if memory is None:
            memory = self.compressor.empty_memory(len(history_input_ids), fingerprint=fingerprint)
        self.compressor.check(memory, fingerprint, rows=len(history_input_ids))
        if fingerprint is None:  # what is added now is of no checkpoint
            memory = replace(memory, fingerprint=None)
        names, mask = self.config.role_token_ids, history_attention_mask
        return self.compressor(
            self.get_input_embeddings()(history_input_ids),
            readout_mask=history_input_ids == self.config.memory_token_id,
            attention_mask=mask,
            memory=memory,
            role_starts=find_role_starts(history_input_ids, names, mask, memory.unfinished),
        )

    def prompt_embeds(
        self,
        input_ids: torch.LongTensor,
        av_embeds: torch.FloatTensor | None = None,
        history_input_ids: torch.LongTensor | None = None,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
        memory_embeds: torch.FloatTensor | None = None,
        **media,
    ) -> torch.FloatTensor:
        """As [`EmpathAVForCausalLM.prompt_embeds`], but with gradients."""
        media = {name: value for name, value in media.items() if value is not None}
        if av_embeds is None and media:
            av_embeds = self.get_av_features(**media)
        if history_input_ids is not None:
            memory = self.compress(history_input_ids, history_attention_mask, memory)
        if memory is not None:
            self.check_memory(memory)
            memory_embeds = memory.flat()
        embeds = self.get_input_embeddings()(input_ids)
        embeds = self._place(embeds, input_ids == self.config.av_token_id, av_embeds, "av")
        return self._place(embeds, input_ids == self.config.memory_token_id, memory_embeds, "memory")

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """Takes the inputs of [`EmpathAVForCausalLM.forward`] and returns hidden states in place of logits."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        placed = given_inputs(kwargs, PLACED_INPUTS)
        if input_ids is not None:
            inputs_embeds = self.prompt_embeds(input_ids, **placed)
        elif placed:
            raise ValueError(
                f"{', '.join(placed)} replace placeholders in input_ids and cannot be found in inputs_embeds: give "
                "input_ids, or pass what model.prompt_embeds returns as inputs_embeds alone."
            )
        rest = {name: value for name, value in kwargs.items() if name not in PLACED_INPUTS}
        return self.language_model(inputs_embeds=inputs_embeds, **with_known_cache_name(rest))

    @staticmethod
    def _place(embeds: torch.Tensor, where: torch.Tensor, vectors: torch.Tensor | None, name: str) -> torch.Tensor:
        """Replaces the embeddings at `where` by `vectors`, in reading order."""
        expected, given = where.sum(), 0 if vectors is None else vectors.numel() // embeds.shape[-1]
        torch_compilable_check(
            expected == given,
            lambda: (
                f"input_ids hold {expected} {name} placeholders and {given} {name} vectors were given: let the "
                "processor make both from one set of messages."
            ),
        )
        if not given:
            return embeds
        return embeds.masked_scatter(where[..., None], vectors.to(embeds))
