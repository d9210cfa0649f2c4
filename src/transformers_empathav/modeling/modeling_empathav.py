"""EmpathAV: a language model that reads emotion vectors of clips and memory vectors of a long conversation."""

import torch
from torch import nn
from transformers import AutoModel, Cache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .emotion_extractor_empathav import AudioVisualEmotionExtractor
from .emotion_scores_empathav import emotion_prompts, label_prefixes
from .mamba_compressor_empathav import MambaCompressor


# Inputs that become emotion vectors, and those that become memory vectors.
AUDIO_INPUTS = ("input_features", "audio_features")
VIDEO_INPUTS = ("pixel_values_videos", "video_features")
MEDIA_INPUTS = (*AUDIO_INPUTS, "audio_mask", "input_features_mask", *VIDEO_INPUTS, "video_mask")
HISTORY_INPUTS = ("history_input_ids", "history_attention_mask", "memory")


class EmpathAVPreTrainedModel(PreTrainedModel):
    config: EmpathAVConfig
    base_model_prefix = "model"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = False  # not the Q-Former; for the rest say attn_implementation={"text_config": ...}
    _supports_attention_backend = True
    # Rounded to bfloat16, Whisper's weights move its output by a tenth; both encoders are small beside the language model.
    _keep_in_fp32_modules_strict = ["audio_tower", "vision_tower"]
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
        """As in torch, but what has no trainable parameter stays in evaluation mode: its dropout would only be noise."""
        super().train(mode)
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
        """[`EmpathAVForCausalLM.compress`], differentiable."""
        return self.compressor(
            self.get_input_embeddings()(history_input_ids),
            readout_mask=history_input_ids == self.config.memory_token_id,
            attention_mask=history_attention_mask,
            memory=memory,
        )

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
        use_cache: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if av_embeds is None and (given := _given(locals(), MEDIA_INPUTS)):
            av_embeds = self.get_av_features(**given)
        if history_input_ids is not None:
            memory = self.compress(history_input_ids, history_attention_mask, memory)
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = self._place(inputs_embeds, input_ids == self.config.av_token_id, av_embeds, "av")
            vectors = None if memory is None else memory.flat()
            inputs_embeds = self._place(inputs_embeds, input_ids == self.config.memory_token_id, vectors, "memory")
        elif av_embeds is not None or memory is not None:
            raise ValueError("Clips and history replace placeholders in input_ids: with inputs_embeds, put them in there.")
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )

    @staticmethod
    def _place(embeds: torch.Tensor, where: torch.Tensor, vectors: torch.Tensor | None, name: str) -> torch.Tensor:
        expected, given = int(where.sum()), 0 if vectors is None else vectors.numel() // embeds.shape[-1]
        if expected != given:
            raise ValueError(
                f"input_ids hold {expected} {name} placeholders and {given} {name} vectors were given: let the processor "
                "make both from one set of messages."
            )
        if not given:
            return embeds
        return embeds.masked_scatter(where[..., None], vectors.to(embeds))


class EmpathAVForCausalLM(EmpathAVPreTrainedModel, GenerationMixin):
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
                What was read before, to be continued; it stays as it is.

        Returns:
            [`ConversationMemory`]
        """
        return self.model.compress(history_input_ids, history_attention_mask, memory)

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
            labels (`torch.LongTensor` of shape `(batch, length)`, *optional*):
                Targets, -100 where not trained.

        Raises:
            `ValueError`: placeholders and vectors differ in number.
        """
        given = _given(locals(), MEDIA_INPUTS + HISTORY_INPUTS + ("av_embeds",))
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **given,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep])
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

    @torch.no_grad()
    def generate(self, inputs: torch.LongTensor | None = None, **kwargs):
        """
        As in transformers. Clips and history are read once, before the first token; `memory=` continues an older memory.
        """
        media = {name: kwargs.pop(name) for name in MEDIA_INPUTS if name in kwargs}
        if kwargs.get("av_embeds") is None and _given(media, MEDIA_INPUTS):
            kwargs["av_embeds"] = self.get_av_features(**media)
        history, mask = kwargs.pop("history_input_ids", None), kwargs.pop("history_attention_mask", None)
        if history is not None:
            kwargs["memory"] = self.compress(history, mask, kwargs.get("memory"))
        return super().generate(inputs, **kwargs)

    def prepare_inputs_for_generation(self, input_ids, inputs_embeds=None, is_first_iteration=False, **kwargs):
        if not is_first_iteration and kwargs.get("use_cache", True):
            kwargs.update(av_embeds=None, memory=None)  # the cache holds them
        return super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        # Clips are not one per row: each row's are repeated as a block, or a beam would read those of its neighbour.
        av_embeds, memory = model_kwargs.pop("av_embeds", None), model_kwargs.pop("memory", None)
        if expand_size > 1 and av_embeds is not None:
            clips = (input_ids == self.config.av_token_id).sum(dim=1) // self.config.num_query_tokens
            rows = torch.arange(len(av_embeds), device=av_embeds.device).split(clips.tolist())
            av_embeds = av_embeds[torch.cat([row.repeat(expand_size) for row in rows])]
        if expand_size > 1 and memory is not None:
            memory = memory.select(torch.arange(len(memory), device=input_ids.device).repeat_interleave(expand_size))
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return input_ids, {**model_kwargs, "av_embeds": av_embeds, "memory": memory}

    @torch.no_grad()
    def predict_emotion(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None, **inputs):
        r"""
        The emotion of the last user turn of each row.

        Takes the inputs of `generate`. A turn with sound or frames is scored from its emotion vectors, one without from
        its text; history and memory play no part.

        Returns:
            `torch.Tensor` of shape `(batch, 7)`: float probabilities in the order of `config.emotion_labels`.
        """
        media, av_embeds = _given(inputs, MEDIA_INPUTS), inputs.get("av_embeds")
        if av_embeds is None and media:
            av_embeds = self.get_av_features(**media)
        present = present_clips(len(av_embeds), **media) if media else None
        return self.score_emotions(input_ids, attention_mask, av_embeds, present).softmax(dim=-1)

    def score_emotions(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        av_embeds: torch.Tensor | None = None,
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Differentiable scores behind `predict_emotion`: the mean log-probability of each label's tokens.

        Args:
            av_embeds (`torch.Tensor` of shape `(clips, num_query_tokens, hidden)`, *optional*): Emotion vectors.
            present (`torch.Tensor` of shape `(clips,)`, *optional*): True where a clip has sound or frames; all by default.

        Returns:
            `torch.Tensor` of shape `(batch, labels)`.
        """
        prompts, clips = emotion_prompts(self.config, input_ids, attention_mask, present)
        vectors = None if not clips else av_embeds[torch.tensor(clips, device=av_embeds.device)]
        totals = torch.zeros(len(prompts), len(self.config.emotion_labels), device=input_ids.device)
        for prefix, continuations in label_prefixes(self.config).items():
            rows = [prompt + list(prefix) for prompt in prompts]
            width = max(map(len, rows))
            ids = input_ids.new_tensor([[0] * (width - len(row)) + row for row in rows])
            mask = input_ids.new_tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            ids = ids.masked_fill(mask == 0, self.config.emotion_prompt_ids[-1])  # any token that is no placeholder
            outputs = self(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
                av_embeds=vectors,
                logits_to_keep=1,
                use_cache=False,
            )
            log_probs = outputs.logits[:, -1].float().log_softmax(dim=-1)
            for label, token, length in continuations:
                totals[:, label] = totals[:, label] + log_probs[:, token] / length
        return totals


def _given(values: dict, names: tuple[str, ...]) -> dict:
    return {name: values[name] for name in names if values.get(name) is not None}


def present_clips(clips: int, audio_mask=None, video_mask=None, **streams) -> torch.Tensor:
    """`(clips,)`, true where a clip has at least one stream; without its mask, a stream that is given is everywhere."""
    present = torch.zeros(clips, dtype=torch.bool)
    for mask, names in ((audio_mask, AUDIO_INPUTS), (video_mask, VIDEO_INPUTS)):
        if mask is not None:
            present |= mask.bool().cpu()
        elif any(name in streams for name in names):
            present[:] = True
    return present


EmpathAVForCausalLM.register_for_auto_class("AutoModelForCausalLM")
