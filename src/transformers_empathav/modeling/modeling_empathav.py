"""EmpathAVForCausalLM: a causal LM that reads emotion vectors of clips and memory vectors of a long conversation."""

from dataclasses import replace

import torch
from torch import nn
from transformers import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from .base_model_empathav import EmpathAVModel, EmpathAVPreTrainedModel
from .compressor_fingerprint_empathav import digest_of
from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .generation_empathav import CACHE, EmpathAVGenerationMixin


class EmpathAVForCausalLM(EmpathAVPreTrainedModel, EmpathAVGenerationMixin):
    r"""
    Empathetic replies from text, clips of a voice and a face, and a compressed history (arXiv 2412.17572).

    With text alone its logits are exactly those of its language model.

    Args:
        config ([`EmpathAVConfig`]): The configuration.
    """

    _tp_plan = {"lm_head": "colwise_gather_output"}  # the parts of the language model bring their own

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

    @torch.no_grad()
    def prompt_embeds(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None, **inputs
    ) -> torch.FloatTensor:
        r"""
        What the language model reads: the embeddings of a prompt, with emotion and memory vectors in their places.

        Give them to an engine that serves the language model and takes prompt embeddings, or to `generate` as
        `inputs_embeds`. Such an engine wants one prompt at a time, without padding.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch, length)`): The prompt, with placeholders.
            attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*):
                Not read; padding is embedded, too.
            inputs: Clips, history and memory, as in [`~EmpathAVForCausalLM.forward`].

        Returns:
            `torch.FloatTensor` of shape `(batch, length, hidden)`.

        Raises:
            `ValueError`: If placeholders and vectors differ in number, or another compressor made `memory`.
        """
        return self.model.prompt_embeds(input_ids, **inputs)

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
