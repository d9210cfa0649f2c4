"""EmpathAVProcessor: converts text, clips and history to the inputs of EmpathAVForCausalLM."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice

from transformers import BatchFeature, ProcessorMixin

from .chat_template_empathav import TemplateRules
from .clip_loading_empathav import ClipLoadingMixin
from .history_empathav import encode_turns
from .media_empathav import MediaLimits
from .messages_empathav import ControlTokenEscape, is_conversation, pair_streams, parse_conversations
from .prompt_empathav import Prompt, PromptWriter, check_clip_places, encode_prompts, memory_sizes


EMOTION_LABELS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


class EmpathAVProcessor(ClipLoadingMixin, ProcessorMixin):
    r"""
    Feature extractor, image processor and tokenizer of EmpathAV in one. For chats call `apply_chat_template`.

    Args:
        feature_extractor (`FeatureExtractionMixin`): Converts sound to the input of the audio encoder.
        image_processor (`BaseImageProcessor`): Converts frames to the input of the vision encoder.
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the language model, with its chat template.
        chat_template (`str`, *optional*): Replaces the tokenizer's chat template.
        av_token (`str`, *optional*, defaults to `"<|av|>"`): Placeholder of emotion vectors; write one per clip.
        memory_token (`str`, *optional*, defaults to `"<|memory|>"`): Placeholder of memory vectors; one per text.
        num_query_tokens (`int`, *optional*, defaults to 8): Emotion vectors per clip, as in the model.
        memory_tokens_per_utterance (`int`, *optional*, defaults to 4): Memory vectors per utterance, as in the model.
        recent_turns (`int`, *optional*, defaults to 4): Newest messages that stay verbatim; older ones become history.
        system_prompt (`str`, *optional*): Used where a conversation has no system message.
        emotion_labels (`list[str]`, *optional*): The emotions that a message may carry.
        num_frames (`int`, *optional*, defaults to 8): Frames sampled per clip.
        window_seconds (`float`, *optional*, defaults to 30.0): Longest clip, in seconds; longer ones become several.
        face_cascade (`str`, *optional*): File name of an OpenCV cascade in the checkpoint, to crop frames to the face.
        reply_tokens (`int`, *optional*, defaults to 256): Positions of the language model reserved for the reply.
        limits (`dict`, *optional*):
            Limits on every clip that differ from those of [`MediaLimits`], by name, such as `{"max_seconds": 900}`.

    Raises:
        `ValueError`: If the tokenizer lacks a placeholder, the window is too long, or a limit is none.
    """

    def __init__(
        self,
        feature_extractor,
        image_processor,
        tokenizer,
        chat_template=None,
        av_token="<|av|>",
        memory_token="<|memory|>",
        num_query_tokens=8,
        memory_tokens_per_utterance=4,
        recent_turns=4,
        system_prompt=None,
        emotion_labels=EMOTION_LABELS,
        num_frames=8,
        window_seconds=30.0,
        face_cascade=None,
        reply_tokens=256,
        limits=None,
    ):
        template = chat_template or tokenizer.chat_template
        super().__init__(feature_extractor, image_processor, tokenizer, chat_template=template)
        self.av_token, self.memory_token = av_token, memory_token
        self.av_token_id, self.memory_token_id = tokenizer.convert_tokens_to_ids([av_token, memory_token])
        for token, index in ((av_token, self.av_token_id), (memory_token, self.memory_token_id)):
            if index is None or index == tokenizer.unk_token_id and token != tokenizer.unk_token:
                raise ValueError(f"The tokenizer does not know the placeholder {token!r}: add it as a special token.")
        heard = feature_extractor.to_dict().get("chunk_length")
        if heard is not None and heard < window_seconds:
            raise ValueError(
                f"window_seconds is {window_seconds:g} and the feature extractor cuts sound off after {heard:g} s: "
                f"give window_seconds={heard:g} or less."
            )
        self.num_query_tokens = num_query_tokens
        self.memory_tokens_per_utterance = memory_tokens_per_utterance
        self.recent_turns = recent_turns
        self.system_prompt = system_prompt
        self.emotion_labels = list(emotion_labels)
        self.num_frames = num_frames
        self.window_seconds = window_seconds
        self.face_cascade = face_cascade
        self.reply_tokens = reply_tokens
        MediaLimits().changed(limits)  # refuses what is none
        self.limits = asdict(limits) if isinstance(limits, MediaLimits) else limits
        self._template_rules = {}
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self.escape = ControlTokenEscape([*special, av_token, memory_token])

    @property
    def max_length(self) -> int:
        """Longest prompt in tokens: the tokenizer's `model_max_length` less `reply_tokens`."""
        return self.tokenizer.model_max_length - self.reply_tokens

    @property
    def readouts(self) -> list[int]:
        """Token ids of the read-out tokens after each utterance of a history."""
        return [self.memory_token_id] * self.memory_tokens_per_utterance

    @property
    def model_input_names(self) -> list[str]:
        """Names of the model inputs that this processor returns."""
        return [
            "input_ids", "attention_mask", "input_features", "audio_mask", "input_features_mask",
            "pixel_values_videos", "video_mask", "history_input_ids", "history_attention_mask",
        ]  # fmt: skip

    def template_rules(self, template: str) -> TemplateRules:
        """What a chat template takes; found out once."""
        if template not in self._template_rules:
            render = partial(self.tokenizer.apply_chat_template, chat_template=template, tokenize=False)
            self._template_rules[template] = TemplateRules.of(render)
        return self._template_rules[template]

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio=None,
        videos=None,
        history: Sequence | None = None,
        memory=None,
        sampling_rate: int | None = None,
        limits: MediaLimits | dict | None = None,
        allow_urls: bool = False,
        add_special_tokens: bool = True,
        padding: bool = True,
        return_tensors: str | None = "pt",
        images=None,
    ) -> BatchFeature:
        r"""
        Args:
            text (`str` or `list[str]`):
                Text with one `av_token` per clip and one `memory_token` where the memory goes. A missing one is put at
                the front; for clips only if each row has exactly one and no text has an `av_token`. Control tokens are
                not escaped here: use [`~EmpathAVProcessor.apply_chat_template`] for text that users write.
            audio, videos (source or `list`, *optional*):
                The clips of all rows in reading order, one entry each: paths, bytes, arrays, dictionaries of
                `datasets`, or `None` if the clip lacks that stream. `audio` replaces a video's own sound.
            history (`list[dict]` or a list of these, *optional*):
                Older messages of each row, for the compressor; `[]` or `None` for a row without.
            memory ([`ConversationMemory`], *optional*): History that is compressed already, one conversation per row.
            sampling_rate (`int`, *optional*):
                Sampling rate of sound given as arrays, in Hz; the feature extractor's by default.
            limits (`MediaLimits` or `dict`, *optional*):
                Limits on every source; a dictionary changes those of the processor.
            allow_urls (`bool`, *optional*, defaults to `False`):
                Whether `http://` and `https://` addresses of clips may be fetched.
            add_special_tokens, padding, return_tensors (*optional*): As in tokenizers. Padding is on the left.
            images: Not accepted: give a photo under `videos`.

        Returns:
            `BatchFeature`: `input_ids`, `attention_mask`. With clips also `audio_mask`, `video_mask`,
                `input_features`, `input_features_mask` and `pixel_values_videos`, as far as they have these streams.
                With history also `history_input_ids` and `history_attention_mask`.

        Raises:
            `ValueError`: If clips and placeholders differ in number, or a source cannot be used.
        """
        if images is not None:
            raise ValueError("EmpathAV reads clips, not single images: pass a photo under `videos`.")
        if text is None:
            raise ValueError("text is missing: clips need a place in it, marked by processor.av_token.")
        texts = [text] if isinstance(text, str) else text
        if not (isinstance(texts, Sequence) and texts and all(isinstance(row, str) for row in texts)):
            raise ValueError(
                "text must be a string or a list of at least one: for messages use processor.apply_chat_template."
            )
        parts = pair_streams(videos, audio, sampling_rate)
        unmarked = len(parts) == len(texts) and not any(self.av_token in row for row in texts)
        texts = [self.av_token + row for row in texts] if unmarked else texts
        check_clip_places(texts, self.av_token, len(parts))
        histories = [[] for _ in texts]
        if history:
            histories = parse_conversations(history, self.emotion_labels, may_be_empty=True)
        if len(histories) != len(texts):
            raise ValueError(
                f"{len(texts)} texts and {len(histories)} histories were given: each row needs one, [] for none."
            )
        clips = iter([self._load_part(part, limits=limits, allow_urls=allow_urls) for part in parts])
        prompts = [
            Prompt(text, list(islice(clips, text.count(self.av_token))), history)
            for text, history in zip(texts, histories)
        ]
        text_options = {"add_special_tokens": add_special_tokens, "padding": padding}
        return encode_prompts(self, prompts, memory, return_tensors, **text_options)

    def apply_chat_template(
        self,
        conversation,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = "pt",
        recent_turns: int | None = None,
        memory=None,
        max_length: int | None = None,
        truncation: bool | None = None,
        padding: bool | str = True,
        limits: MediaLimits | dict | None = None,
        allow_urls: bool = False,
        num_frames: int | None = None,
        return_assistant_tokens_mask: bool = False,
        processor_kwargs: dict | None = None,
        **template_kwargs,
    ):
        r"""
        Renders conversations by the chat template. With `tokenize=True, return_dict=True` returns the model's inputs.

        The newest `recent_turns` messages stay verbatim with their clips, and so does a system message at the
        beginning. Older ones become history. If the prompt would exceed `max_length`, more messages become history,
        with a warning; the newest message is never cut. Control tokens in messages are escaped.

        Where the template refuses a message, nothing is lost: a system message goes into the user's message after it,
        an assistant's message at the beginning becomes history, and neighbours of one role become one message.

        Args:
            conversation (`list[dict]` or a list of these):
                Messages `{"role", "content", "emotion"?, "speaker"?}`; `content` has parts `text`, `audio`, `video`.
                The compressor reads emotion and speaker; the language model only if the chat template writes them.
            chat_template (`str`, *optional*): Replaces the processor's own.
            add_generation_prompt (`bool`): Whether the prompt ends where the reply begins.
            continue_final_message (`bool`): Whether the prompt ends in the last message, for the model to continue.
            tokenize, return_dict (`bool`): Set both for the inputs of the model.
            return_tensors (`str`, *optional*): `"pt"`, `"np"`, or `None` for lists.
            recent_turns (`int`, *optional*): Replaces the processor's own.
            memory ([`ConversationMemory`], *optional*): History that is compressed already, one conversation per row.
            max_length (`int`, *optional*): Longest prompt in tokens; `processor.max_length` by default. Unused without
                `tokenize`.
            truncation (`bool`, *optional*): Need not be set: a prompt is made to fit in any case, as said above.
            padding (`bool` or `str`), limits, allow_urls: As in `__call__`.
            num_frames (`int`, *optional*): Frames sampled per clip; the processor's own number by default.
            return_assistant_tokens_mask (`bool`): Whether to add `assistant_masks`, 1 for each token that the template
                writes between `{% generation %}` and `{% endgeneration %}`.
            processor_kwargs (`dict`, *optional*): May hold `return_tensors` and `max_length` to `num_frames` instead.
            template_kwargs: Further variables of the chat template.

        Returns:
            `str` or `list[str]` without `tokenize`, else a `BatchFeature` (or its `input_ids` without `return_dict`).

        Raises:
            `ValueError`: If a message is not valid, a clip or the template fails, or the newest message does not fit.
        """
        options = {
            "max_length": max_length, "truncation": truncation, "padding": padding, "return_tensors": return_tensors,
            "limits": limits, "allow_urls": allow_urls, "num_frames": num_frames,
        }  # fmt: skip
        given = processor_kwargs or {}
        if unknown := [name for name, value in given.items() if name not in options and value is not None]:
            raise ValueError(f"processor_kwargs has the unknown {unknown[0]}: it may hold {', '.join(options)}.")
        options |= given
        media = {"allow_urls": options["allow_urls"], "num_frames": options["num_frames"]}
        media["limits"] = self.media_limits.changed(options["limits"])
        recent_turns = self.recent_turns if recent_turns is None else recent_turns
        max_length = self.max_length if options["max_length"] is None else options["max_length"]
        if recent_turns < 1:
            raise ValueError(f"recent_turns is {recent_turns}: the newest message stays verbatim, so give 1 or more.")
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}: give 1 or more, or lower reply_tokens.")
        if return_assistant_tokens_mask and not (tokenize and return_dict):
            raise ValueError("return_assistant_tokens_mask needs tokenize=True and return_dict=True.")
        conversations = parse_conversations(conversation, self.emotion_labels)
        variables = {"add_generation_prompt": add_generation_prompt, "continue_final_message": continue_final_message}
        writer = PromptWriter(self, chat_template, **variables, **template_kwargs)
        sizes = memory_sizes(memory, len(conversations), self.memory_tokens_per_utterance)
        load = partial(self._load_part, **media) if tokenize else None
        plan = {"max_length": max_length, "load": load, "masked": return_assistant_tokens_mask}
        prompts = [writer.prompt(turns, recent_turns, size, **plan) for turns, size in zip(conversations, sizes)]
        if not tokenize:
            texts = [prompt.text for prompt in prompts]
            return texts[0] if is_conversation(conversation) else texts
        text_options = {"add_special_tokens": False, "padding": options["padding"]}  # the template has written them
        if options["padding"] == "max_length":
            text_options["max_length"] = max_length
        inputs = encode_prompts(self, prompts, memory, options["return_tensors"], **text_options)
        return inputs if return_dict else inputs["input_ids"]

    def encode_history(self, messages) -> BatchFeature:
        r"""
        Tokenizes messages for `model.compress`, each followed by its read-out tokens.

        Args:
            messages (`list[dict]` or a list of these): A conversation, or one for each row.

        Returns:
            `BatchFeature`: `history_input_ids` and `history_attention_mask`, right-padded, `(batch, tokens)`.
        """
        conversations = parse_conversations(messages, self.emotion_labels, may_be_empty=True)
        return BatchFeature(encode_turns(conversations, self.tokenizer, self.escape, self.readouts), tensor_type="pt")


EmpathAVProcessor.register_for_auto_class()
