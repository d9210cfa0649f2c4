"""EmpathAVProcessor: converts text, clips and history to the inputs of EmpathAVForCausalLM."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file

from .face_crop_empathav import FaceCropper
from .history_empathav import encode_turns
from .media_empathav import Clip, MediaLimits, encode_clips, load_clip
from .messages_empathav import ControlTokenEscape, MediaPart, Turn, is_conversation, pair_streams, parse_conversations
from .prompt_empathav import PromptWriter, check_clip_places, fill_clip_places, fill_memory_places, memory_sizes


EMOTION_LABELS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


class EmpathAVProcessor(ProcessorMixin):
    r"""
    Feature extractor, image processor and tokenizer of EmpathAV in one. For chats call `apply_chat_template`.

    Args:
        feature_extractor (`FeatureExtractionMixin`): Converts sound to the input of the audio encoder.
        image_processor (`BaseImageProcessor`): Converts frames to the input of the vision encoder.
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the language model, with its chat template.
        chat_template (`str`, *optional*): Replaces the tokenizer's chat template.
        av_token (`str`, *optional*, defaults to `"<|av|>"`): Placeholder of emotion vectors; write one per clip.
        memory_token (`str`, *optional*, defaults to `"<|memory|>"`):
            Placeholder of memory vectors; write one per text.
        num_query_tokens (`int`, *optional*, defaults to 8): Emotion vectors per clip, as in the model.
        memory_tokens_per_utterance (`int`, *optional*, defaults to 4): Memory vectors per utterance, as in the model.
        recent_turns (`int`, *optional*, defaults to 4): Newest messages that stay verbatim; older ones become history.
        system_prompt (`str`, *optional*): Used where a conversation has no system message.
        emotion_labels (`list[str]`, *optional*): The emotions that a message may carry.
        num_frames (`int`, *optional*, defaults to 8): Frames sampled per clip.
        window_seconds (`float`, *optional*, defaults to 30.0):
            Longest clip, in seconds; longer sources become several.
        face_cascade (`str`, *optional*): File name of an OpenCV cascade in the checkpoint, to crop frames to the face.
        reply_tokens (`int`, *optional*, defaults to 256): Positions of the language model reserved for the reply.
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
        self._cropper = None
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self.escape = ControlTokenEscape([*special, av_token, memory_token])

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; also loads the face cascade."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        if processor.face_cascade is not None:
            where = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
            where = {key: kwargs[key] for key in where if key in kwargs}
            cascade = cached_file(pretrained_model_name_or_path, processor.face_cascade, **where)
            processor.use_face_cascade(cascade)
        return processor

    def save_pretrained(self, save_directory, push_to_hub=False, repo_id=None, **kwargs):
        """As in transformers; also copies the face cascade."""
        files = super().save_pretrained(save_directory)
        if self._cropper is not None:
            target = Path(save_directory) / self.face_cascade
            if not (target.exists() and target.samefile(self._cropper.cascade_path)):
                shutil.copyfile(self._cropper.cascade_path, target)
        if push_to_hub:  # only now, so that the cascade is uploaded too
            self.push_to_hub(repo_id or Path(save_directory).name, **kwargs)
        return files

    def use_face_cascade(self, path: str | os.PathLike):
        """Crops faces by the OpenCV cascade at `path` from now on. `save_pretrained` copies that file."""
        self.face_cascade = Path(path).name
        self._cropper = FaceCropper(path)

    @property
    def max_length(self) -> int:
        """Longest prompt in tokens: the tokenizer's `model_max_length` less `reply_tokens`."""
        return self.tokenizer.model_max_length - self.reply_tokens

    @property
    def model_input_names(self) -> list[str]:
        """Names of the model inputs that this processor returns."""
        return [
            "input_ids", "attention_mask", "input_features", "audio_mask", "input_features_mask",
            "pixel_values_videos", "video_mask", "history_input_ids", "history_attention_mask",
        ]  # fmt: skip

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio=None,
        videos=None,
        history: Sequence | None = None,
        memory=None,
        sampling_rate: int | None = None,
        limits: MediaLimits | None = None,
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
            memory ([`ConversationMemory`], *optional*):
                History that is compressed already, one conversation per row.
            sampling_rate (`int`, *optional*):
                Sampling rate of sound given as arrays, in Hz; the feature extractor's by default.
            limits (`MediaLimits`, *optional*):
                Limits on every source.
            allow_urls (`bool`, *optional*, defaults to `False`):
                Whether `http://` and `https://` addresses of clips may be fetched.
            add_special_tokens, padding, return_tensors (*optional*):
                As in tokenizers. Padding is on the left.
            images (*optional*):
                Not accepted: give a photo under `videos`.

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
        clips = [self._load(part, limits=limits, allow_urls=allow_urls) for part in parts]
        return self._assemble(texts, clips, histories, memory, add_special_tokens, padding, return_tensors)

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
        padding: bool = True,
        limits: MediaLimits | None = None,
        allow_urls: bool = False,
        processor_kwargs: dict | None = None,
        **template_kwargs,
    ):
        r"""
        Renders conversations by the chat template. With `tokenize=True, return_dict=True` returns the model's inputs.

        The newest `recent_turns` messages stay verbatim with their clips, and so does a system message at the
        beginning. Older ones become history. If the prompt would exceed `max_length`, more messages become history,
        with a warning; the newest message is never cut. Control tokens in messages are escaped.

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
            padding (`bool`), limits, allow_urls: As in `__call__`; `processor_kwargs` may hold them too.
            template_kwargs: Further variables of the chat template.

        Returns:
            `str` or `list[str]` without `tokenize`, else a `BatchFeature` (or its `input_ids` without `return_dict`).

        Raises:
            `ValueError`: If a message is not valid, a clip cannot be used, or the newest message does not fit.
        """
        options = {"limits": limits, "allow_urls": allow_urls, "padding": padding, "return_tensors": return_tensors}
        if unknown := set(processor_kwargs or {}) - set(options):
            raise ValueError(
                f"processor_kwargs has the unknown {', '.join(sorted(unknown))}: it may hold {', '.join(options)}."
            )
        options |= processor_kwargs or {}
        recent_turns = self.recent_turns if recent_turns is None else recent_turns
        max_length = self.max_length if max_length is None else max_length
        if recent_turns < 1:
            raise ValueError(f"recent_turns is {recent_turns}: the newest message stays verbatim, so give 1 or more.")
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}: give 1 or more, or lower reply_tokens.")
        conversations = parse_conversations(conversation, self.emotion_labels)
        variables = {"add_generation_prompt": add_generation_prompt, "continue_final_message": continue_final_message}
        writer = PromptWriter(self, chat_template or self.chat_template, **variables, **template_kwargs)
        texts, clips, histories = [], [], []
        sizes = memory_sizes(memory, len(conversations), self.memory_tokens_per_utterance)
        for turns, memory_size in zip(conversations, sizes):
            system, turns = (turns[:1], turns[1:]) if turns[0].role == "system" else ([], turns)
            split = max(len(turns) - recent_turns, 0)
            if tokenize:
                loaded = {
                    id(part): self._load(part, limits=options["limits"], allow_urls=options["allow_urls"])
                    for turn in turns[split:]
                    for part in turn.clips
                }
                windows = {key: len(clip) for key, clip in loaded.items()}
                split = writer.fit(system, turns, recent_turns, memory_size, windows, max_length)
                clips += [loaded[id(part)] for turn in turns[split:] for part in turn.clips]
            texts.append(writer.write(system, turns[split:], memory_size(split) > 0))
            histories.append(turns[:split])
        if not tokenize:
            return texts[0] if is_conversation(conversation) else texts
        # add_special_tokens is False: the chat template has written the special tokens.
        inputs = self._assemble(texts, clips, histories, memory, False, options["padding"], options["return_tensors"])
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
        return BatchFeature(self._encode_turns(conversations), tensor_type="pt")

    def _encode_turns(self, conversations: list[list[Turn]]) -> dict:
        readouts = [self.memory_token_id] * self.memory_tokens_per_utterance
        return encode_turns(conversations, self.tokenizer, self.escape, readouts)

    def load_clip(
        self, source, kind: str = "video", sound=None, sampling_rate: int | None = None, **bounds
    ) -> list[Clip]:
        r"""
        Decodes a media source with this processor's settings. The result may be given in messages in place of the
        source.

        Args:
            source: Path, bytes, file object or array.
            kind (`str`, *optional*, defaults to `"video"`):
                `"video"` (with its sound), `"audio"`, or `"any"` for the streams that there are.
            sound (*optional*): Source of sound in place of the video's own.
            sampling_rate (`int`, *optional*): Sampling rate of sound given as an array, in Hz.
            bounds: `limits` and `allow_urls`, as in `__call__`.

        Returns:
            `list[Clip]`: windows of at most `window_seconds`, each of which becomes `num_query_tokens` vectors.

        Raises:
            `MediaError`: If the source cannot be used.
        """
        clips = load_clip(
            source,
            sampling_rate=self.feature_extractor.sampling_rate,
            num_frames=self.num_frames,
            window_seconds=self.window_seconds,
            want={"video": "both"}.get(kind, kind),
            sound=sound,
            array_sampling_rate=sampling_rate,
            **bounds,
        )
        for clip in clips:
            if clip.frames is not None and self._cropper is not None:
                clip.frames, clip.face = self._cropper.crop(clip.frames)
        return clips

    def _load(self, part: MediaPart, limits: MediaLimits | None, allow_urls: bool) -> list[Clip]:
        if isinstance(part.source, list) and part.source and all(isinstance(clip, Clip) for clip in part.source):
            return part.source
        bounds = {"limits": limits or MediaLimits(), "allow_urls": allow_urls}
        return self.load_clip(part.source, part.kind, part.sound, part.sampling_rate, **bounds)

    def _assemble(self, texts, clips, histories, memory, add_special_tokens, padding, return_tensors) -> BatchFeature:
        """Converts texts with placeholders, windows of each clip and turns of each history to tensors."""
        sizes = memory_sizes(memory, len(texts), self.memory_tokens_per_utterance)
        vectors = [memory_size(len(turns)) for memory_size, turns in zip(sizes, histories)]
        rows = fill_memory_places(texts, self.memory_token, vectors)
        rows = fill_clip_places(rows, self.av_token, [self.num_query_tokens * len(windows) for windows in clips])
        encoded = self.tokenizer(rows, padding=padding, padding_side="left", add_special_tokens=add_special_tokens)
        data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if clips:
            windows = [window for clip in clips for window in clip]
            data |= encode_clips(windows, self.feature_extractor, self.image_processor)
        if any(histories):
            data |= self._encode_turns(histories)
        return BatchFeature(data, tensor_type=return_tensors)


EmpathAVProcessor.register_for_auto_class()
