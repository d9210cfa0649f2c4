"""EmpathAVProcessor: text, clips and history to the tensors of EmpathAVForCausalLM."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file, logging

from .face_crop_empathav import FaceCropper
from .media_empathav import Clip, MediaLimits, load_clip
from .messages_empathav import ControlTokenEscape, MediaPart, Turn, parse_messages


logger = logging.get_logger(__name__)

EMOTION_LABELS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


class EmpathAVProcessor(ProcessorMixin):
    r"""
    Feature extractor, image processor and tokenizer of EmpathAV in one.

    Args:
        feature_extractor (`FeatureExtractionMixin`): Sound to the input of the audio encoder.
        image_processor (`BaseImageProcessor`): Frames to the input of the vision encoder.
        tokenizer (`PreTrainedTokenizerBase`): The language model's own, with its chat template.
        chat_template (`str`, *optional*): In place of the tokenizer's.
        av_token (`str`): Token whose place an emotion vector takes; one in the text stands for one clip.
        memory_token (`str`): Token whose place a memory vector takes; one in the text stands for the whole memory.
        num_query_tokens (`int`, defaults to 8): Emotion vectors of a clip, as in the model.
        memory_tokens_per_utterance (`int`, defaults to 4): Memory vectors of an utterance, as in the model.
        recent_turns (`int`, defaults to 4): Newest messages that stay verbatim; older ones become history.
        system_prompt (`str`, *optional*): Used where a conversation brings no system message of its own.
        emotion_labels (`list[str]`): The emotions that a message may carry.
        num_frames (`int`, defaults to 8): Frames sampled from a clip of up to `window_seconds`.
        window_seconds (`float`, defaults to 30.0): What the audio encoder hears at once; longer clips become several.
        face_cascade (`str`, *optional*): Name of the OpenCV cascade in the checkpoint directory; faces are cropped by it.
        reply_tokens (`int`, defaults to 256): Positions of the language model kept free for the reply.
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
        super().__init__(feature_extractor, image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template)
        self.av_token, self.memory_token = av_token, memory_token
        self.av_token_id, self.memory_token_id = tokenizer.convert_tokens_to_ids([av_token, memory_token])
        for token, index in ((av_token, self.av_token_id), (memory_token, self.memory_token_id)):
            if index is None or index == tokenizer.unk_token_id and token != tokenizer.unk_token:
                raise ValueError(f"The tokenizer does not know the placeholder {token!r}: add it as a special token.")
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
        added = tokenizer.added_tokens_decoder.values()
        self._escape = ControlTokenEscape([token.content for token in added if token.special] + [av_token, memory_token])

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        if processor.face_cascade is not None:
            where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "local_files_only") if key in kwargs}
            processor.use_face_cascade(cached_file(pretrained_model_name_or_path, processor.face_cascade, **where))
        return processor

    def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
        os.makedirs(save_directory, exist_ok=True)
        if self._cropper is not None:
            target = Path(save_directory) / self.face_cascade
            if not (target.exists() and target.samefile(self._cropper.cascade_path)):
                shutil.copyfile(self._cropper.cascade_path, target)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def use_face_cascade(self, path: str | os.PathLike):
        """Crops faces by the OpenCV cascade at `path` from now on; `save_pretrained` copies that file."""
        self.face_cascade = Path(path).name
        self._cropper = FaceCropper(path)

    @property
    def max_length(self) -> int:
        """Positions of the language model that a prompt may take, with `reply_tokens` left for the reply."""
        return self.tokenizer.model_max_length - self.reply_tokens

    @property
    def model_input_names(self) -> list[str]:
        return [
            "input_ids", "attention_mask", "input_features", "audio_mask", "input_features_mask",
            "pixel_values_videos", "video_mask", "history_input_ids", "history_attention_mask",
        ]  # fmt: skip

    def __call__(
        self,
        images=None,
        text: str | Sequence[str] | None = None,
        videos=None,
        audio=None,
        history: Sequence | None = None,
        memory=None,
        sampling_rate: int | None = None,
        limits: MediaLimits | None = None,
        allow_urls: bool = False,
        add_special_tokens: bool = True,
        padding: bool = True,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        r"""
        Args:
            text (`str` or `list[str]`):
                One `av_token` for each clip, one `memory_token` where the memory goes; a row that leaves its only one
                out has it at the front.
            videos, audio (source or `list`, *optional*):
                The clips of all rows in reading order: paths, bytes, arrays, or `None` where a clip lacks that stream. A
                video brings its own sound unless `audio` holds another at its place.
            history (`list[dict]` or a list of these, *optional*):
                Older messages of each row, for the compressor.
            memory ([`ConversationMemory`], *optional*):
                What was compressed before, a conversation for each row.
            sampling_rate (`int`, *optional*):
                Of sound given as arrays, in Hz; the encoder's own by default.
            limits (`MediaLimits`, *optional*):
                Bounds on every source.
            allow_urls (`bool`, defaults to `False`):
                Whether clips may be fetched.

        Returns:
            `BatchFeature`: `input_ids`, `attention_mask` (left-padded) and what there is of `input_features`,
            `input_features_mask`, `audio_mask`, `pixel_values_videos`, `video_mask`, `history_input_ids`,
            `history_attention_mask`.

        Raises:
            `ValueError`: clips and placeholders differ in number, or a source cannot be used.
        """
        if images is not None:
            raise ValueError("EmpathAV reads clips, not single images: pass a photo under `videos`.")
        if text is None:
            raise ValueError("text is missing: clips need a place in it, marked by processor.av_token.")
        texts = [text] if isinstance(text, str) else list(text)
        parts = [
            MediaPart("video", video, sampling_rate) if video is not None else MediaPart("audio", sound, sampling_rate)
            for video, sound in pair_streams(videos, audio)
        ]
        sounds = [sound if video is not None else None for video, sound in pair_streams(videos, audio)]
        texts = self._front(texts, self.av_token, len(parts) == len(texts) and not any(self.av_token in row for row in texts))
        if (marked := sum(row.count(self.av_token) for row in texts)) != len(parts):
            raise ValueError(
                f"The text has {marked} places for clips ({self.av_token}) and {len(parts)} clips were given: write one "
                "processor.av_token for each clip, or use processor.apply_chat_template."
            )
        clips = [
            self._load(part, sound, limits=limits or MediaLimits(), allow_urls=allow_urls)
            for part, sound in zip(parts, sounds)
        ]
        histories = [] if history is None else [history] if is_conversation(history) else list(history)
        turns = [parse_messages(older, self.emotion_labels) if older else [] for older in histories]
        return self._assemble(texts, clips, turns, memory, add_special_tokens, padding, return_tensors)

    def apply_chat_template(
        self,
        conversation,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str = "pt",
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
        Renders conversations; with `tokenize=True, return_dict=True` makes the inputs of the model.

        The newest `recent_turns` messages stay verbatim with their clips. Older ones become history with their roles, and
        so do more of them, with a warning, where the verbatim ones would not fit; the newest message is never cut. What a
        person writes is escaped, so it is never read as a placeholder or another control token.

        Args:
            conversation (`list[dict]` or a list of these):
                Messages `{"role", "content", "emotion"?, "speaker"?}`; parts of `content` are `text`, `audio`, `video`.
            recent_turns (`int`, *optional*): In place of the processor's own.
            memory ([`ConversationMemory`], *optional*): What was compressed before.
            max_length (`int`, *optional*): Positions for the prompt; `processor.max_length` by default.
            limits, allow_urls: As in `__call__`; `processor_kwargs` may hold them too.

        Returns:
            `str` or `list[str]` without `tokenize`, else a `BatchFeature` (or its `input_ids` without `return_dict`).
        """
        options = {"limits": limits, "allow_urls": allow_urls, "padding": padding, **(processor_kwargs or {})}
        if unknown := set(options) - {"limits", "allow_urls", "padding", "return_tensors"}:
            raise ValueError(f"processor_kwargs has the unknown {', '.join(sorted(unknown))}.")
        recent_turns = self.recent_turns if recent_turns is None else recent_turns
        if recent_turns < 1:
            raise ValueError(f"recent_turns is {recent_turns}: at least the newest message stays verbatim, so give 1 or more.")
        single = is_conversation(conversation)
        rendering = {
            "chat_template": chat_template or self.chat_template,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
            **template_kwargs,
        }
        texts, clips, histories = [], [], []
        for index, messages in enumerate([conversation] if single else conversation):
            turns = parse_messages(messages, self.emotion_labels)
            system, turns = (turns[:1], turns[1:]) if turns[0].role == "system" else ([], turns)
            kept = 0 if memory is None else int(memory.lengths[index])
            if not tokenize:
                texts.append(self._render(system, turns[-recent_turns:], bool(turns[:-recent_turns]) or kept > 0, rendering))
                continue
            loaded = {
                id(part): self._load(part, limits=options["limits"] or MediaLimits(), allow_urls=options["allow_urls"])
                for turn in turns[-recent_turns:]
                for part in turn.clips
            }
            split = self._fit(system, turns, recent_turns, kept, loaded, rendering, max_length or self.max_length)
            texts.append(self._render(system, turns[split:], split > 0 or kept > 0, rendering))
            clips += [loaded[id(part)] for turn in turns[split:] for part in turn.clips]
            histories.append(turns[:split])
        if not tokenize:
            return texts[0] if single else texts
        tensors = options.get("return_tensors", return_tensors)
        # The template writes the control tokens itself, as in every tokenizer's apply_chat_template.
        inputs = self._assemble(texts, clips, histories, memory, False, options["padding"], tensors)
        return inputs if return_dict else inputs["input_ids"]

    def encode_history(self, messages) -> BatchFeature:
        r"""
        Older messages for `model.compress`, each followed by its read-outs.

        Args:
            messages (`list[dict]` or a list of these): A conversation, or one for each row.

        Returns:
            `BatchFeature` with `history_input_ids` and `history_attention_mask`, right-padded, `(batch, tokens)`.
        """
        conversations = [messages] if is_conversation(messages) else messages
        turns = [parse_messages(older, self.emotion_labels) if older else [] for older in conversations]
        return BatchFeature(self._encode_turns(turns), tensor_type="pt")

    def _encode_turns(self, conversations: list[list[Turn]]) -> dict[str, np.ndarray]:
        readouts = [self.memory_token_id] * self.memory_tokens_per_utterance
        rows = []
        for turns in conversations:
            texts = [self._escape(self._utterance(turn, index)) for index, turn in enumerate(turns, 1)]
            encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
            rows.append([token for ids in encoded for token in ids + readouts])
        width = max(map(len, rows), default=0)
        ids, mask = np.zeros((2, len(rows), width), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
        return {"history_input_ids": ids, "history_attention_mask": mask}

    def _utterance(self, turn: Turn, index: int) -> str:
        """An older turn as the compressor reads it: who, in which emotion, said what."""
        if turn.clips and turn.emotion is None:
            if not turn.text:
                raise ValueError(
                    f"Message {index} has become history, which is read as text, and has only a clip: add what was said as a "
                    "text part, or its 'emotion', or raise recent_turns."
                )
            logger.warning_once(
                "Clips of messages that have become history are remembered by their text alone: add the message's 'emotion' "
                "(model.predict_emotion gives it) to keep what voice and face said."
            )
        who = " ".join(filter(None, [turn.role, turn.speaker]))
        return f"{who} ({turn.emotion}): {turn.text}" if turn.emotion else f"{who}: {turn.text}"

    def _render(self, system: list[Turn], turns: list[Turn], has_memory: bool, rendering: dict) -> str:
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in [*system, *turns]]
        if not system and self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        if has_memory:
            # After the system prompt, which never changes: what precedes the newest vectors can stay in a cache.
            first = messages[0]
            joined = first["content"] + self.memory_token if first["role"] == "system" else self.memory_token + first["content"]
            first["content"] = joined
        return self.tokenizer.apply_chat_template(messages, tokenize=False, **rendering)

    def _content(self, turn: Turn) -> str:
        return "".join(self.av_token if isinstance(part, MediaPart) else self._escape(part) for part in turn.parts)

    def _fit(self, system, turns, recent_turns, kept, loaded, rendering, max_length) -> int:
        """How many of the oldest turns become history, so that the rest fits into `max_length` positions."""
        wanted = max(len(turns) - recent_turns, 0)
        for split in range(wanted, max(len(turns), 1)):
            text = self._render(system, turns[split:], split > 0 or kept > 0, rendering)
            windows = sum(len(loaded[id(part)]) for turn in turns[split:] for part in turn.clips)
            vectors = kept + split * self.memory_tokens_per_utterance
            length = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            length += windows * self.num_query_tokens + vectors - text.count(self.av_token) - text.count(self.memory_token)
            if length <= max_length:
                if split > wanted:
                    logger.warning(
                        f"{split - wanted} more of the recent messages became history: with them verbatim the prompt would "
                        f"exceed {max_length} positions. The newest message is whole."
                    )
                return split
        raise ValueError(
            f"The newest message with its system prompt and memory takes {length} positions, and {max_length} are free: "
            "shorten it, or give part of it as an earlier message, which is compressed."
        )

    def load_clip(self, source, kind: str = "video", sound=None, sampling_rate: int | None = None, **bounds) -> list[Clip]:
        r"""
        Decodes a source as this processor reads it; the result may stand in a message in place of the source.

        Args:
            source: Path, bytes, file object or array.
            kind (`str`): `"video"`, with its sound, `"audio"`, or `"any"` for the streams that a file has.
            sound (*optional*): Sound in place of the video's own.
            sampling_rate (`int`, *optional*): Of sound given as an array, in Hz.
            bounds: `limits` and `allow_urls`.

        Returns:
            `list[Clip]`: Windows of at most `window_seconds`, each of which becomes `num_query_tokens` vectors.
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
                clip.frames = self._cropper(clip.frames)
        return clips

    def _load(self, part: MediaPart, sound=None, **bounds) -> list[Clip]:
        if isinstance(part.source, list) and part.source and all(isinstance(clip, Clip) for clip in part.source):
            return part.source
        return self.load_clip(part.source, part.kind, sound, part.sampling_rate, **bounds)

    def _front(self, texts: list[str], token: str, wanted: bool | list[bool]) -> list[str]:
        flags = wanted if isinstance(wanted, list) else [wanted] * len(texts)
        return [token + text if flag else text for text, flag in zip(texts, flags)]

    def _assemble(self, texts, clips, histories, memory, add_special_tokens, padding, return_tensors) -> BatchFeature:
        """Texts with one placeholder a clip and one a memory, windows of each clip, turns of each history: to tensors."""
        for name, given in (("histories", len(histories)), ("memories", 0 if memory is None else len(memory))):
            if given not in (0, len(texts)):
                raise ValueError(f"{len(texts)} texts and {given} {name} were given: each row needs one of its own, [] for none.")
        older = [len(turns) for turns in histories] or [0] * len(texts)
        kept = [0] * len(texts) if memory is None else memory.lengths.tolist()
        vectors = [before + new * self.memory_tokens_per_utterance for before, new in zip(kept, older)]
        missing = [count > 0 and self.memory_token not in text for count, text in zip(vectors, texts)]
        rows, sources = [], iter(clips)
        for text, count in zip(self._front(texts, self.memory_token, missing), vectors):
            if text.count(self.memory_token) != min(count, 1):
                raise ValueError(
                    f"A text has {text.count(self.memory_token)} places for a memory ({self.memory_token}) of {count} vectors: "
                    "write one where there is a history or a memory, and none where there is not."
                )
            pieces = text.split(self.av_token)
            places = [self.av_token * self.num_query_tokens * len(next(sources)) for _ in pieces[1:]]
            text = pieces[0] + "".join(place + piece for place, piece in zip(places, pieces[1:]))
            rows.append(text.replace(self.memory_token, self.memory_token * count))
        self.tokenizer.padding_side = "left"
        encoded = self.tokenizer(rows, padding=padding, add_special_tokens=add_special_tokens)
        data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if windows := [window for clip in clips for window in clip]:
            data |= self._encode_media(windows)
        if any(older):
            data |= self._encode_turns(histories)
        return BatchFeature(data, tensor_type=return_tensors)

    def _encode_media(self, clips: list[Clip]) -> dict[str, np.ndarray]:
        heard = np.array([clip.audio is not None for clip in clips])
        seen = np.array([clip.frames is not None for clip in clips])
        data = {"audio_mask": heard.astype(np.int64), "video_mask": seen.astype(np.int64)}
        if heard.any():
            sound = self.feature_extractor(
                [clip.audio for clip in clips if clip.audio is not None],
                sampling_rate=self.feature_extractor.sampling_rate,
                return_attention_mask=True,
                return_tensors="np",
            )
            data["input_features"] = spread(sound[self.feature_extractor.model_input_names[0]], heard)
            data["input_features_mask"] = spread(sound["attention_mask"], heard).astype(np.int64)
        if seen.any():
            frames = [frame for clip in clips if clip.frames is not None for frame in clip.frames]
            pixels = self.image_processor(images=frames, return_tensors="np")["pixel_values"]
            data["pixel_values_videos"] = spread(pixels.reshape(seen.sum(), -1, *pixels.shape[1:]), seen)
        return data


def is_conversation(value) -> bool:
    """Whether this is one conversation and not a list of them."""
    return isinstance(value, Sequence) and (not value or not isinstance(value[0], Sequence))


def pair_streams(videos, audio) -> list[tuple]:
    """Frames and sound of each clip; a list has an entry for each clip, anything else is the one of a single clip."""
    videos = videos if isinstance(videos, list) else [] if videos is None else [videos]
    audio = audio if isinstance(audio, list) else [] if audio is None else [audio]
    if videos and audio and len(videos) != len(audio):
        raise ValueError(
            f"{len(videos)} videos and {len(audio)} sounds were given: give one of each per clip, None where one is missing."
        )
    pairs = list(zip(videos or [None] * len(audio), audio or [None] * len(videos)))
    if any(video is None and sound is None for video, sound in pairs):
        raise ValueError("A clip has neither sound nor frames: leave it out together with its place in the text.")
    return pairs


def spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Rows of `values` at the true places of `where`, zeros elsewhere."""
    full = np.zeros((len(where), *values.shape[1:]), dtype=values.dtype)
    full[where] = values
    return full


EmpathAVProcessor.register_for_auto_class()
