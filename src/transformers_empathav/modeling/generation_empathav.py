"""Generation and emotion prediction of EmpathAV. Clips and history are encoded once, before decoding begins."""

from collections.abc import Iterator

import torch
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast

from .configuration_empathav import EmpathAVConfig
from .conversation_memory_empathav import ConversationMemory
from .prompt_cache_empathav import PromptCache


# Arguments of `forward`: the inputs that become emotion vectors, and vectors that are ready to be placed.
AUDIO_INPUTS = ("input_features", "audio_features")
VIDEO_INPUTS = ("pixel_values_videos", "video_features")
MEDIA_INPUTS = (*AUDIO_INPUTS, "audio_mask", "input_features_mask", *VIDEO_INPUTS, "video_mask")
EMBEDS = ("av_embeds", "memory_embeds")
PLACED_INPUTS = (*MEDIA_INPUTS, *EMBEDS, "history_input_ids", "history_attention_mask", "memory")
# What the installed transformers calls the KV cache: `cache` since 5.24, `past_key_values` before.
CACHE_NAMES = ("cache", "past_key_values")
CACHE = next(name for name in CACHE_NAMES if name in BaseModelOutputWithPast.__dataclass_fields__)


class EmpathAVGenerationMixin(GenerationMixin):
    """`generate` and `predict_emotion` of [`EmpathAVForCausalLM`]."""

    @torch.no_grad()
    def generate(
        self,
        inputs: torch.LongTensor | None = None,
        memory: ConversationMemory | None = None,
        prompt_cache: PromptCache | None = None,
        **kwargs,
    ):
        r"""
        Generates a reply, as in transformers. Clips and history are encoded once, before the first token.

        Args:
            inputs (`torch.LongTensor` of shape `(batch, length)`, *optional*):
                The prompt; may be given as `input_ids` too.
            memory ([`ConversationMemory`], *optional*):
                Compressed history. If `history_input_ids` are given too, they are read after it.
            prompt_cache ([`PromptCache`], *optional*):
                Keeps the KV cache for the next turn. Use one object per conversation.
            kwargs:
                The other inputs of [`EmpathAVForCausalLM.forward`], and the arguments of `generate` in transformers.

        Returns:
            `torch.LongTensor` of shape `(batch, length)`: prompt and reply, or what transformers' options ask for.

        Raises:
            `ValueError`: If `prefill_chunk_size` is combined with clips or memory, or `memory` is of another
                compressor.
        """
        kwargs = with_known_cache_name(kwargs)
        media = {name: kwargs.pop(name) for name in MEDIA_INPUTS if name in kwargs}
        if kwargs.get("av_embeds") is None and (media := given_inputs(media, MEDIA_INPUTS)):
            kwargs["av_embeds"] = self.get_av_features(**media)
        history, mask = kwargs.pop("history_input_ids", None), kwargs.pop("history_attention_mask", None)
        if history is not None:
            memory = self.compress(history, mask, memory)
        if memory is not None:
            self.model.check_memory(memory)
            kwargs["memory_embeds"] = memory.flat()
        if kwargs.get("prefill_chunk_size") is not None and given_inputs(kwargs, EMBEDS):
            raise ValueError(
                "prefill_chunk_size cannot be combined with clips or memory, whose placeholders it would split: "
                "leave it out."
            )
        if prompt_cache is None:
            return super().generate(inputs, **kwargs)
        input_ids = kwargs["input_ids"] if inputs is None else inputs
        options = {"generation_config": self.generation_config, **kwargs}
        places = (self.config.av_token_id, self.config.memory_token_id)
        vectors = dict(zip(places, (kwargs.get(name) for name in EMBEDS)))
        kwargs[CACHE] = prompt_cache.reuse(input_ids, vectors, options, self.config.text_config)
        try:
            generated = super().generate(inputs, **kwargs)
        except BaseException:
            prompt_cache.forget()
            raise
        if isinstance(generated, Iterator):  # a `custom_generate` that writes while it is read
            return prompt_cache.keep_while(generated)
        prompt_cache.keep((generated if isinstance(generated, torch.Tensor) else generated.sequences)[0])
        return generated

    def prepare_inputs_for_generation(
        self, input_ids, next_sequence_length=None, inputs_embeds=None, is_first_iteration=False, **kwargs
    ):
        # Vectors go where their placeholders are read now; those of tokens in the cache are left out. An assistant
        # reads its whole prompt with `is_first_iteration=False`, so that does not tell.
        if next_sequence_length is not None and next_sequence_length < input_ids.shape[1]:
            cached = input_ids[:, : input_ids.shape[1] - next_sequence_length]
            for name, embeds in given_inputs(kwargs, EMBEDS).items():
                blocks = zip(self._by_row(name, embeds, input_ids), self._counts(name, cached))
                left = torch.cat([block[skipped:] for block, skipped in blocks])
                kwargs[name] = left if len(left) else None
        return super().prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )

    def _counts(self, name: str, input_ids: torch.LongTensor) -> list[int]:
        """Number of clips (`av_embeds`) or memory vectors (`memory_embeds`) that each row has placeholders for."""
        if name == "av_embeds":
            return ((input_ids == self.config.av_token_id).sum(dim=1) // self.config.num_query_tokens).tolist()
        return (input_ids == self.config.memory_token_id).sum(dim=1).tolist()

    def _by_row(self, name: str, embeds: torch.Tensor, input_ids: torch.LongTensor) -> tuple[torch.Tensor, ...]:
        return embeds.split(self._counts(name, input_ids))

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        # A row may have any number of clips and memory vectors, so each row's are repeated as a block. Repeated one by
        # one, a beam would read those of another row.
        given = {name: model_kwargs.pop(name, None) for name in EMBEDS}
        for name, embeds in given_inputs(given, EMBEDS).items():
            blocks = self._by_row(name, embeds, input_ids)
            given[name] = torch.cat([block for block in blocks for _ in range(expand_size)])
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return input_ids, {**model_kwargs, **given}

    @torch.no_grad()
    def predict_emotion(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None, **inputs):
        r"""
        Predicts the emotion of the last user turn of each row. Takes the inputs of `generate`.

        A turn with sound or frames is scored from its emotion vectors alone, a turn without them from its text.
        History and memory are ignored.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch, length)`): The prompt.
            attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 0 at padding.
            inputs: Clips, as in [`EmpathAVForCausalLM.forward`].

        Returns:
            `torch.Tensor` of shape `(batch, 7)`: probabilities in float32, in the order of `config.emotion_labels`.
        """
        media, av_embeds = given_inputs(inputs, MEDIA_INPUTS), inputs.get("av_embeds")
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
        Scores the emotion labels by the mean log-probability of their tokens, divided by `config.emotion_temperature`
        where a turn is scored from its clips. Differentiable; `predict_emotion` is the softmax of these scores.

        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(batch, length)`): As in `generate`.
            av_embeds (`torch.Tensor` of shape `(clips, num_query_tokens, hidden)`, *optional*): Emotion vectors.
            present (`torch.Tensor` of shape `(clips,)`, *optional*):
                True where a clip has sound or frames; all by default.

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
            ids = ids.masked_fill(mask == 0, self.config.emotion_prompt_ids[-1])  # padding; must be no placeholder
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
        from_clips = torch.tensor([[self.config.av_token_id in prompt] for prompt in prompts], device=totals.device)
        return torch.where(from_clips, totals / self.config.emotion_temperature, totals)


def with_known_cache_name(kwargs: dict) -> dict:
    """Keyword arguments with the KV cache under the name that the installed transformers reads."""
    given = {name: kwargs[name] for name in CACHE_NAMES if kwargs.get(name) is not None}
    if len(given) > 1:
        raise ValueError("Give the KV cache once: cache and past_key_values are two names for it.")
    rest = {name: value for name, value in kwargs.items() if name not in CACHE_NAMES}
    return rest | dict(zip([CACHE], given.values()))


def given_inputs(values: dict, names: tuple[str, ...]) -> dict:
    """The entries of `values` whose names are in `names` and whose value is not `None`."""
    return {name: values[name] for name in names if values.get(name) is not None}


def present_clips(clips: int, audio_mask=None, video_mask=None, **streams) -> torch.Tensor:
    """`(clips,)`, true where a clip has sound or frames. A stream without a mask counts for all clips."""
    present = torch.zeros(clips, dtype=torch.bool)
    for mask, names in ((audio_mask, AUDIO_INPUTS), (video_mask, VIDEO_INPUTS)):
        if mask is not None:
            present |= mask.bool().cpu()
        elif any(name in streams for name in names):
            present[:] = True
    return present


# The emotion prompt: token ids around the last user turn, and the labels that may follow.


def emotion_prompts(
    config: EmpathAVConfig,
    input_ids: torch.LongTensor,
    attention_mask: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> tuple[list[list[int]], list[int]]:
    r"""
    Fills the emotion prompt of the configuration with the last user turn of each row.

    Args:
        config ([`EmpathAVConfig`]): Holds the prompt, the placeholders and the ids that open and close a turn.
        input_ids, attention_mask (`torch.Tensor` of shape `(batch, length)`): As in `generate`.
        present (`torch.Tensor` of shape `(clips,)`, *optional*):
            True where a clip has sound or frames; all by default.

    Returns:
        `tuple`: token ids of each row's prompt, and the indices of the clips whose vectors replace its placeholders.

    Raises:
        `ValueError`: If the configuration has no emotion prompt.
    """
    if config.emotion_prompt_ids is None or config.emotion_label_ids is None:
        raise ValueError(
            "The configuration has no emotion_prompt_ids and emotion_label_ids, so emotions cannot be scored: "
            "assemble the checkpoint with `empathav assemble`, or set both from your tokenizer."
        )
    prompts, used, first_clip = [], [], 0
    slot = list(config.emotion_prompt_ids).index(config.av_token_id)
    before, after = list(config.emotion_prompt_ids[:slot]), list(config.emotion_prompt_ids[slot + 1 :])
    masks = [None] * len(input_ids) if attention_mask is None else attention_mask.tolist()
    for row, mask in zip(input_ids.tolist(), masks):
        row = row if mask is None else [token for token, real in zip(row, mask) if real]
        start, end = last_user_turn(config, row)
        turn = row[start:end]
        first = first_clip + row[:start].count(config.av_token_id) // config.num_query_tokens
        clips = range(first, first + turn.count(config.av_token_id) // config.num_query_tokens)
        clips = [clip for clip in clips if present is None or present[clip]]
        text = [token for token in turn if token not in (config.av_token_id, config.memory_token_id)]
        if text[:1] == before[-1:]:  # line break after the marker, which the prompt has already
            text = text[1:]
        content = [config.av_token_id] * (len(clips) * config.num_query_tokens) if clips else text
        prompts.append(before + content + after)
        used += clips
        first_clip += row.count(config.av_token_id) // config.num_query_tokens
    return prompts, used


def last_user_turn(config: EmpathAVConfig, row: list[int]) -> tuple[int, int]:
    """
    Start and end of the last user turn, without the tokens that open and close it. Where these are missing, start and
    end of the row.
    """
    start = find_last(row, list(config.user_turn_ids))
    return start, start + find_first(row[start:], list(config.turn_end_ids))


def find_last(row: list[int], pattern: list[int]) -> int:
    """Index after the last occurrence of `pattern`; 0 if there is none."""
    for start in range(len(row) - len(pattern), -1, -1):
        if pattern and row[start : start + len(pattern)] == pattern:
            return start + len(pattern)
    return 0


def find_first(row: list[int], pattern: list[int]) -> int:
    """Index of the first occurrence of `pattern`; the length of the row if there is none."""
    for start in range(len(row) - len(pattern) + 1):
        if pattern and row[start : start + len(pattern)] == pattern:
            return start
    return len(row)


def label_prefixes(config: EmpathAVConfig) -> dict[tuple[int, ...], list[tuple[int, int, int]]]:
    """
    Groups the tokens of the labels by the tokens before them: `{prefix: [(label, token, label length), ...]}`.

    Each prefix takes one forward pass. If every label is a single token, the empty prefix is the only one.
    """
    prefixes: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for label, tokens in enumerate(config.emotion_label_ids):
        for position, token in enumerate(tokens):
            prefixes.setdefault(tuple(tokens[:position]), []).append((label, token, len(tokens)))
    return prefixes


def emotion_pipeline() -> type:
    """The class of the pipeline. Its import here makes `save_pretrained` copy its file into the checkpoint."""
    from .emotion_pipeline_empathav import EmotionPipeline

    return EmotionPipeline
