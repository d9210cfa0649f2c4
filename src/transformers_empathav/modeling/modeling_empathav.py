"""EmpathAV: a causal LM that reads emotion vectors of clips and memory vectors of a long conversation."""

from dataclasses import replace

import torch
from torch import nn
from transformers import AutoModel, Cache, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from .compressor_fingerprint_empathav import (
    WeightsFingerprint,
    are_trained,
    digest_of,
    fingerprinted_weights,
    is_adapted,
)
from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .emotion_extractor_empathav import AudioVisualEmotionExtractor
from .generation_empathav import CACHE, MEDIA_INPUTS, EmpathAVGenerationMixin, given_inputs, with_known_cache_name
from .mamba_compressor_empathav import MambaCompressor
from .utterance_positions_empathav import find_role_starts


class EmpathAVPreTrainedModel(PreTrainedModel):
    """Base class of the models: loads and initialises weights, and keeps the encoders frozen."""

    config: EmpathAVConfig
    base_model_prefix = "model"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = False  # not the Q-Former; for the LLM pass attn_implementation={"text_config": ...}
    _supports_attention_backend = True
    # In bfloat16 Whisper's output changes by a tenth, and a channel's mean may be many times its standard deviation.
    _keep_in_fp32_modules_strict = ["audio_tower", "vision_tower", "channel_shift", "channel_scale"]
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

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        av_embeds: torch.FloatTensor | None = None,
        history_input_ids: torch.LongTensor | None = None,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
        memory_embeds: torch.FloatTensor | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """Takes the inputs of [`EmpathAVForCausalLM.forward`] and returns hidden states in place of logits."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        media = {name: kwargs.pop(name, None) for name in MEDIA_INPUTS}
        if av_embeds is None and (given := given_inputs(media, MEDIA_INPUTS)):
            av_embeds = self.get_av_features(**given)
        if history_input_ids is not None:
            memory = self.compress(history_input_ids, history_attention_mask, memory)
        if memory is not None:
            self.check_memory(memory)
            memory_embeds = memory.flat()
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = self._place(inputs_embeds, input_ids == self.config.av_token_id, av_embeds, "av")
            where = input_ids == self.config.memory_token_id
            inputs_embeds = self._place(inputs_embeds, where, memory_embeds, "memory")
        elif av_embeds is not None or memory_embeds is not None:
            raise ValueError(
                "Clips and history replace placeholders in input_ids: give input_ids, or insert the vectors into "
                "inputs_embeds yourself."
            )
        return self.language_model(inputs_embeds=inputs_embeds, **with_known_cache_name(kwargs))

    @staticmethod
    def _place(embeds: torch.Tensor, where: torch.Tensor, vectors: torch.Tensor | None, name: str) -> torch.Tensor:
        """Replaces the embeddings at `where` by `vectors`, in reading order."""
        expected, given = int(where.sum()), 0 if vectors is None else vectors.numel() // embeds.shape[-1]
        if expected != given:
            raise ValueError(
                f"input_ids hold {expected} {name} placeholders and {given} {name} vectors were given: let the "
                "processor make both from one set of messages."
            )
        if not given:
            return embeds
        return embeds.masked_scatter(where[..., None], vectors.to(embeds))


class EmpathAVForCausalLM(EmpathAVPreTrainedModel, EmpathAVGenerationMixin):
    r"""
    Empathetic replies from text, clips of a voice and a face, and a compressed history (arXiv 2412.17572).

    With text alone its logits are exactly those of its language model.

    Args:
        config ([`EmpathAVConfig`]): The configuration.
    """

    def __init__(self, config: EmpathAVConfig):
        super().__init__(config)
        self.model = EmpathAVModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        embeddings = self.model.language_model.get_input_embeddings()
        name = next(name for name, module in self.model.language_model.named_modules() if module is embeddings)
        self._tied_weights_keys = {"lm_head.weight": f"model.language_model.{name}.weight"}
        self.post_init()
        # Placeholders must not be generated: there would be no vectors for them.
        self.generation_config.suppress_tokens = [config.av_token_id, config.memory_token_id]

    def save_pretrained(self, save_directory, **kwargs):
        """
        As in transformers; also sets `config.compressor_fingerprint`, by which the model recognises its memories.
        """
        weights = self.model.fingerprinted_weights()
        self.config.compressor_fingerprint = digest_of(weights) or self.model.fingerprint.known
        super().save_pretrained(save_directory, **kwargs)
        self.model.fingerprint.claim(weights, self.config.compressor_fingerprint)

    def get_av_features(self, **media) -> torch.Tensor:
        """
        Emotion vectors of clips. Compute them once to use them for `generate` and `predict_emotion`, as `av_embeds`.

        Args:
            media: `input_features`, `pixel_values_videos` and their masks, as in [`AudioVisualEmotionExtractor`].

        Returns:
            `torch.Tensor` of shape `(clips, num_query_tokens, hidden)`.
        """
        return self.model.get_av_features(**media)

    @torch.no_grad()
    def compress(
        self,
        history_input_ids: torch.LongTensor,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
    ) -> ConversationMemory:
        r"""
        Compresses utterances into memory vectors. Only new utterances are read, so a turn costs the same however long
        the conversation is.

        Args:
            history_input_ids (`torch.LongTensor` of shape `(batch, tokens)`):
                Utterances, each followed by its read-out tokens, as `processor.encode_history` returns them.
            history_attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Ones, then zeros (right padding). A row of zeros adds nothing.
            memory ([`ConversationMemory`], *optional*):
                Memory to extend; it is not changed itself. Without one an empty memory without a budget is extended.

        Returns:
            [`ConversationMemory`]: `memory` with the new vectors.

        Raises:
            `ValueError`: If another compressor made `memory`, or the compressor's weights hold NaN or infinity.
        """
        memory = self.model.compress(history_input_ids, history_attention_mask, memory)
        if not memory.is_finite():
            raise ValueError(
                "The compressor returned NaN or infinity: its weights, or the embeddings that it reads, hold NaN or "
                "infinity. Load the checkpoint again, or another one; the memory passed in is unchanged."
            )
        return memory

    def empty_memory(self, rows: int = 1, max_vectors: int | None = None) -> ConversationMemory:
        """
        An empty memory, to be extended by `compress`. Needed only for a budget.

        Args:
            rows (`int`, *optional*, defaults to 1):
                Number of conversations.
            max_vectors (`int`, *optional*):
                Budget: largest number of vectors per conversation, at least two utterances. Beyond it the oldest
                utterances are merged and none is dropped, see `memory.merged_utterances`. Unlimited by default.
        """
        return replace(self.model.empty_memory(rows), max_vectors=max_vectors)

    # `generate` reads the names of this signature, so all inputs are listed; EmpathAVModel.forward takes the same.
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        input_features: torch.FloatTensor | None = None,
        audio_mask: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        pixel_values_videos: torch.FloatTensor | None = None,
        video_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        video_features: torch.FloatTensor | None = None,
        av_embeds: torch.FloatTensor | None = None,
        history_input_ids: torch.LongTensor | None = None,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
        memory_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch, length)`):
                Text with `num_query_tokens` ids `config.av_token_id` for each clip and one id `config.memory_token_id`
                for each memory vector.
            input_features (`torch.FloatTensor` of shape `(clips, mel, frames)`, *optional*):
                Audio features of all clips of the batch in reading order; zeros for a clip without sound.
            audio_mask, video_mask (`torch.Tensor` of shape `(clips,)`, *optional*):
                1 where the clip has sound or frames, respectively; all clips by default.
            input_features_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*):
                1 where a frame of audio is not padding.
            pixel_values_videos (`torch.FloatTensor` of shape `(clips, frames, 3, height, width)`, *optional*):
                Sampled frames of all clips; zeros for a clip without frames.
            audio_features, video_features (`torch.FloatTensor`, *optional*):
                Kept outputs of the frozen encoders, in place of `input_features` and `pixel_values_videos`.
            av_embeds (`torch.FloatTensor` of shape `(clips, num_query_tokens, hidden)`, *optional*):
                Emotion vectors from `get_av_features`, in place of all inputs of clips.
            history_input_ids, history_attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Older turns to compress, see `compress`; they extend `memory` if both are given.
            memory ([`ConversationMemory`], *optional*):
                Compressed history, one conversation per row.
            memory_embeds (`torch.FloatTensor` of shape `(vectors, hidden)`, *optional*):
                Memory vectors of all rows in reading order (`memory.flat()`), in place of `memory` and history.
            labels (`torch.LongTensor` of shape `(batch, length)`, *optional*):
                Target ids; -100 where there is no loss.
            cache or past_key_values (`Cache`, *optional*):
                The KV cache, under either of its two names in transformers.
            attention_mask, position_ids, inputs_embeds, use_cache, logits_to_keep:
                As in other causal LMs of transformers. Pad on the left for generation.

        Raises:
            `ValueError`: If placeholders and vectors differ in number, or another compressor made `memory`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            input_features=input_features,
            audio_mask=audio_mask,
            input_features_mask=input_features_mask,
            pixel_values_videos=pixel_values_videos,
            video_mask=video_mask,
            audio_features=audio_features,
            video_features=video_features,
            av_embeds=av_embeds,
            history_input_ids=history_input_ids,
            history_attention_mask=history_attention_mask,
            memory=memory,
            memory_embeds=memory_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        # A slice of a batch is not contiguous, and torch would copy the head's weights for each of its rows.
        logits = self.lm_head(outputs.last_hidden_state[:, keep].contiguous())
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **{CACHE: outputs[CACHE] if CACHE in outputs else None},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


EmpathAVForCausalLM.register_for_auto_class("AutoModelForCausalLM")
