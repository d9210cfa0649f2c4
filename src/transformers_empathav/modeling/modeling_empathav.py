"""EmpathAV: a language model that reads emotion vectors of clips and memory vectors of a long conversation."""

from dataclasses import replace

import torch
from torch import nn
from transformers import AutoModel, Cache, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .emotion_extractor_empathav import AudioVisualEmotionExtractor
from .generation_empathav import MEDIA_INPUTS, EmpathAVGenerationMixin, given_inputs
from .mamba_compressor_empathav import MambaCompressor, compressor_fingerprint
from .utterance_positions_empathav import find_role_starts


class EmpathAVPreTrainedModel(PreTrainedModel):
    config: EmpathAVConfig
    base_model_prefix = "model"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = False  # not the Q-Former; for the rest say attn_implementation={"text_config": ...}
    _supports_attention_backend = True
    # Rounded to bfloat16, Whisper's weights move its output by a tenth; a channel's mean may be many times its spread.
    _keep_in_fp32_modules_strict = ["audio_tower", "vision_tower", "channel_shift", "channel_scale"]
    _skip_keys_device_placement = ["past_key_values", "memory"]

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).freeze_encoders()  # loading makes every weight trainable
        return loaded

    def freeze_encoders(self):
        """Keeps the audio and the vision encoder from being trained, as they are from the start."""
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
    Extractor, compressor and language model, without the head.

    Vectors take the place of placeholder tokens, so the hidden states are of the length of `input_ids`.

    Args:
        config ([`EmpathAVConfig`]): The configuration.
    """

    def __init__(self, config: EmpathAVConfig):
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)  # first: its dtype is the model's
        self.extractor = AudioVisualEmotionExtractor(config)
        self.compressor = MambaCompressor(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.language_model.set_input_embeddings(value)

    def train(self, mode: bool = True):
        """As in torch, but what has no trainable parameter stays in evaluation mode: its dropout would be noise."""
        super().train(mode)
        if mode and any(parameter.requires_grad for parameter in self.compressor.parameters()):
            self.config.compressor_fingerprint = None  # it is about to change; saving gives it a new one
        for part in (self.extractor, self.extractor.audio_tower, self.extractor.vision_tower, self.compressor):
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self

    def get_av_features(self, **media) -> torch.Tensor:
        """Emotion vectors of clips, `(clips, num_query_tokens, hidden)`; see [`AudioVisualEmotionExtractor`]."""
        return self.extractor(**media)

    def compress(
        self,
        history_input_ids: torch.LongTensor,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
    ) -> ConversationMemory:
        """[`EmpathAVForCausalLM.compress`], differentiable and without its check."""
        return self.compressor(
            self.get_input_embeddings()(history_input_ids),
            readout_mask=history_input_ids == self.config.memory_token_id,
            attention_mask=history_attention_mask,
            memory=memory,
            role_starts=find_role_starts(history_input_ids, self.config.role_token_ids),
        )

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
        """Inputs as [`EmpathAVForCausalLM.forward`] documents them; gives hidden states in place of logits."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        media = {name: kwargs.pop(name, None) for name in MEDIA_INPUTS}
        if av_embeds is None and (given := given_inputs(media, MEDIA_INPUTS)):
            av_embeds = self.get_av_features(**given)
        if history_input_ids is not None:
            memory = self.compress(history_input_ids, history_attention_mask, memory)
        if memory is not None:
            self.compressor.check(memory)
            memory_embeds = memory.flat()
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = self._place(inputs_embeds, input_ids == self.config.av_token_id, av_embeds, "av")
            where = input_ids == self.config.memory_token_id
            inputs_embeds = self._place(inputs_embeds, where, memory_embeds, "memory")
        elif av_embeds is not None or memory_embeds is not None:
            raise ValueError(
                "Clips and history replace placeholders in input_ids: with inputs_embeds, put them in there."
            )
        return self.language_model(inputs_embeds=inputs_embeds, **kwargs)

    @staticmethod
    def _place(embeds: torch.Tensor, where: torch.Tensor, vectors: torch.Tensor | None, name: str) -> torch.Tensor:
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
    Empathetic responses from text, clips of a voice and a face, and a compressed history (arXiv 2412.17572).

    With text alone it gives exactly the logits of its language model.

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
        # No text may ask for a vector that nobody computed.
        self.generation_config.suppress_tokens = [config.av_token_id, config.memory_token_id]

    def save_pretrained(self, save_directory, **kwargs):
        """As in transformers; the configuration gets the compressor's fingerprint, by which it knows its memories."""
        compressor, embeddings = self.model.compressor, self.get_input_embeddings()
        self.config.compressor_fingerprint = compressor_fingerprint(compressor, embeddings)
        super().save_pretrained(save_directory, **kwargs)

    def get_av_features(self, **media) -> torch.Tensor:
        """Emotion vectors of clips, `(clips, num_query_tokens, hidden)`; see [`AudioVisualEmotionExtractor`]."""
        return self.model.get_av_features(**media)

    @torch.no_grad()
    def compress(
        self,
        history_input_ids: torch.LongTensor,
        history_attention_mask: torch.Tensor | None = None,
        memory: ConversationMemory | None = None,
    ) -> ConversationMemory:
        r"""
        Reads utterances into a memory; only what is given is read, so a turn costs the same however long the history.

        Args:
            history_input_ids (`torch.LongTensor` of shape `(batch, tokens)`):
                Utterances, each followed by its read-outs, as `processor.encode_history` gives them.
            history_attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Ones, then zeros; a row of zeros has nothing new.
            memory ([`ConversationMemory`], *optional*):
                What was read before, to be continued; it stays as it is. Begin with `empty_memory` for a memory with
                a budget.

        Returns:
            [`ConversationMemory`]

        Raises:
            `ValueError`: another compressor made `memory`, or the compressor's weights are damaged.
        """
        memory = self.model.compress(history_input_ids, history_attention_mask, memory)
        if not memory.is_finite():
            raise ValueError(
                "The compressor gave values that are no numbers: its weights, or the embeddings that it reads, hold "
                "NaN or infinity. Load the checkpoint again, or another one; the memory given is as it was."
            )
        return memory

    def empty_memory(self, rows: int = 1, max_vectors: int | None = None) -> ConversationMemory:
        """
        The memory of `rows` conversations of which nothing was read, to begin from.

        Args:
            max_vectors (`int`, *optional*):
                Budget of each conversation. Beyond it the oldest utterances are merged and none is dropped, see
                `memory.merged_utterances`; without a budget the memory is exact.
        """
        return replace(self.model.compressor.empty_memory(rows), max_vectors=max_vectors)

    # generate reads these names, and so do people; EmpathAVModel takes the same without naming them again.
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
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
                Sound of all clips of the batch in reading order; zeros for a clip without.
            audio_mask, video_mask (`torch.Tensor` of shape `(clips,)`, *optional*):
                1 where the clip has that stream.
            input_features_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*):
                1 where a frame carries sound and not padding.
            pixel_values_videos (`torch.FloatTensor` of shape `(clips, frames, 3, height, width)`, *optional*):
                Sampled frames.
            audio_features, video_features (`torch.FloatTensor`, *optional*):
                Cached outputs of the frozen encoders, in place of the two inputs above.
            av_embeds (`torch.FloatTensor` of shape `(clips, num_query_tokens, hidden)`, *optional*):
                Emotion vectors computed before by `get_av_features`, in place of all of these.
            history_input_ids, history_attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Older turns, see `compress`; they continue `memory` where both are given.
            memory ([`ConversationMemory`], *optional*):
                Memory of each row.
            memory_embeds (`torch.FloatTensor` of shape `(vectors, hidden)`, *optional*):
                Vectors of all rows in reading order, as `memory.flat()` gives them, in place of these.
            labels (`torch.LongTensor` of shape `(batch, length)`, *optional*):
                Targets, -100 where not trained.

        Raises:
            `ValueError`: placeholders and vectors differ in number.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
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
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        # A slice of several rows is not contiguous, and torch would copy the head's weights for each row of it.
        logits = self.lm_head(outputs.last_hidden_state[:, keep].contiguous())
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


EmpathAVForCausalLM.register_for_auto_class("AutoModelForCausalLM")
