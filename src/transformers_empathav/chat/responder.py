"""From clips and text to a reply."""

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch
from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor
from transformers.utils import logging

from ..checkpoint.loading import ASR_FOLDER, load_checkpoint
from ..modeling.conversation_memory_empathav import ConversationMemory
from ..processing.media_tracks_empathav import resample


logger = logging.get_logger(__name__)
STAGES = ("load", "media", "transcribe", "compress", "generate")


@dataclass
class Reply:
    """
    A reply and how it came about.

    Args:
        transcript (`str`): What the person said or wrote; empty for a clip without speech.
        response (`str`): The answer, never empty.
        emotion (`dict[str, float]`): Probability of each emotion.
        memory ([`ConversationMemory`]): All that was said so far, with this exchange.
        seconds (`dict[str, float]`): Time of each stage: load, media, transcribe, compress, generate.
    """

    transcript: str
    response: str
    emotion: dict[str, float]
    memory: ConversationMemory
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @property
    def label(self) -> str:
        """The likeliest emotion."""
        return max(self.emotion, key=self.emotion.get)

    def to_dict(self) -> dict:
        """What `empathav respond --json` prints."""
        return {
            "transcript": self.transcript,
            "response": self.response,
            "emotion": {"label": self.label, "scores": self.emotion},
            "memory": held(self.memory),
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
        }


def held(memory: ConversationMemory) -> dict[str, int]:
    """The sizes of a memory."""
    return {
        "utterances": memory.num_utterances,
        "vectors": memory.num_vectors,
        "bytes": memory.nbytes,
        "merged_utterances": memory.merged_utterances,
    }


class Responder:
    r"""
    Holds a checkpoint and answers turns.

    Args:
        checkpoint (`str` or `os.PathLike`): A directory of `empathav assemble`, or a Hub id.
        asr (`str`, *optional*):
            A speech recogniser of transformers for turns without text; the checkpoint's own `asr` folder by default,
            `""` for none.
        device (`str`, *optional*): CUDA where there is one by default.
        max_vectors (`int`, *optional*):
            Budget of a memory that has none of its own; half the language model's positions by default. Beyond it the
            oldest utterances are merged.

    Raises:
        `ValueError`: the checkpoint is damaged or of another kind of model.
        `OSError`: there is no such checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        asr: str | None = None,
        device: str | None = None,
        max_vectors: int | None = None,
    ):
        started = perf_counter()
        self.model, self.processor = load_checkpoint(checkpoint, device)
        self.device = self.model.device
        self.max_vectors = max_vectors or self.processor.tokenizer.model_max_length // 2
        self.load_seconds = perf_counter() - started
        own = Path(checkpoint) / ASR_FOLDER
        self.asr_name = asr if asr is not None else str(own) if own.is_dir() else None
        self._asr = None

    def load_asr(self):
        """Loads the speech recogniser, where there is one; `transcribe` does it when it is first needed."""
        if self.asr_name and self._asr is None:
            try:
                config = AutoConfig.from_pretrained(self.asr_name)
                auto_class = AutoModelForSpeechSeq2Seq if config.is_encoder_decoder else AutoModelForCTC
                model = auto_class.from_pretrained(self.asr_name, dtype=self.model.dtype).to(self.device).eval()
                self._asr = model, AutoProcessor.from_pretrained(self.asr_name)
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"No speech recogniser of transformers could be loaded from {self.asr_name} (asr): give its Hub "
                    "id or directory, or the text of the turn."
                ) from error

    @torch.no_grad()
    def transcribe(self, sounds: Sequence) -> str:
        """What is said in sounds `(samples,)` at the processor's sampling rate; empty without a recogniser."""
        if not sounds or not self.asr_name:
            if sounds and self.asr_name is None:
                logger.warning(
                    "The checkpoint has no speech recogniser, so the words of the clip are not read: give text, or "
                    "name a recogniser (asr)."
                )
            return ""
        self.load_asr()
        model, processor = self._asr
        rate, texts = processor.feature_extractor.sampling_rate, []
        for sound in sounds:
            sound = resample("the sound", sound, self.processor.feature_extractor.sampling_rate, rate)
            inputs = processor(sound, sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
            inputs = inputs.to(self.device, model.dtype)
            writes = model.can_generate()  # CTC models do not: there the blank, a special token, parts double letters
            tokens = model.generate(**inputs) if writes else model(**inputs).logits.argmax(dim=-1)
            texts.append(processor.batch_decode(tokens, skip_special_tokens=writes)[0].strip())
        return " ".join(filter(None, texts))

    def __call__(
        self,
        clips: Sequence[str | os.PathLike] = (),
        text: str | None = None,
        history: Sequence[dict] = (),
        memory: ConversationMemory | None = None,
        max_new_tokens: int = 96,
        **generation_kwargs,
    ) -> Reply:
        r"""
        Answers one user turn.

        Args:
            clips (`Sequence`): Sources of the turn's clips: audio or video.
            text (`str`, *optional*): What was said or written; transcribed from the clips by default.
            history (`Sequence[dict]`): Messages before this turn; the memory of the reply holds them too.
            memory ([`ConversationMemory`], *optional*): What was compressed before `history`.
            max_new_tokens (`int`): Longest reply, in tokens.
            generation_kwargs: Further options of `generate`.

        Raises:
            `ValueError`: a clip or a message cannot be read, there is neither clip nor text, they do not fit into the
                language model's positions, or the memory is of another checkpoint.
        """
        if not clips and not (text and text.strip()):
            raise ValueError("There is nothing to answer: give a clip, or a text, or both.")
        positions = self.processor.tokenizer.model_max_length
        if max_new_tokens >= positions:
            raise ValueError(
                f"{max_new_tokens} new tokens are more than the {positions} positions of the language model."
            )
        self.check_memory(memory)
        if memory is None:
            memory = self.model.empty_memory()
        if memory.max_vectors is None:
            memory = replace(memory, max_vectors=self.max_vectors)
        older = list(history)
        if older and isinstance(older[0], dict) and older[0].get("role") == "system":
            older = older[1:]  # it heads every prompt, and is no part of what was said
        self.processor.encode_history(older)  # what cannot be remembered is refused before the work begins
        seconds = dict.fromkeys(STAGES, 0.0) | {"load": self.load_seconds}
        with timed(seconds, "media"):
            decoded = [self.processor.load_clip(clip, kind="any") for clip in clips]
        if text is None:
            with timed(seconds, "load"):
                self.load_asr()
            with timed(seconds, "transcribe"):
                windows = [window for clip in decoded for window in clip]
                text = self.transcribe([window.audio for window in windows if window.audio is not None])
        parts = [{"type": "video", "video": windows} for windows in decoded] + [{"type": "text", "text": text}]
        with timed(seconds, "media"):
            inputs = self.processor.apply_chat_template(
                [*history, {"role": "user", "content": parts}],
                memory=memory,
                max_length=positions - max(max_new_tokens, self.processor.reply_tokens),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            ).to(self.device)
        with timed(seconds, "generate"):
            scores = self.model.predict_emotion(**inputs)[0].tolist()
            emotion = dict(zip(self.model.config.emotion_labels, scores))
            response = self._write(inputs, memory, max_new_tokens, generation_kwargs)
        with timed(seconds, "compress"):
            said = {"role": "user", "content": text, "emotion": max(emotion, key=emotion.get)}
            spoken = [*older, said, {"role": "assistant", "content": response}]
            memory = self.model.compress(**self.processor.encode_history(spoken).to(self.device), memory=memory)
        return Reply(text, response, emotion, memory, seconds)

    def check_memory(self, memory: ConversationMemory | None):
        """
        Raises:
            `ValueError`: `memory` is not one conversation of this checkpoint.
        """
        if memory is None:
            return
        if len(memory) != 1:
            raise ValueError(
                f"The memory holds {len(memory)} conversations and a turn belongs to one: use memory.select."
            )
        self.model.model.compressor.check(memory)

    def _write(self, inputs, memory, max_new_tokens: int, options: dict) -> str:
        """The reply; where the model writes nothing or white space alone, it is made to go on, then to try again."""
        options = {"max_new_tokens": max_new_tokens, "do_sample": False, "repetition_penalty": 1.1, **options}
        prompt_length = inputs["input_ids"].shape[1]
        if options.get("num_return_sequences", 1) != 1:
            raise ValueError("A reply is one: leave num_return_sequences out, or use model.generate for several.")
        for attempt in ({}, {"min_new_tokens": 8}, {"min_new_tokens": 8, "do_sample": True}):
            written = self.model.generate(**inputs, memory=memory, **{**options, **attempt})
            response = self.processor.decode(written[0, prompt_length:], skip_special_tokens=True).strip()
            if response:
                return response
        raise ValueError(
            "The model wrote nothing but white space: raise max_new_tokens, or sample with do_sample=True."
        )


@contextmanager
def timed(seconds: dict[str, float], stage: str):
    started = perf_counter()
    yield
    seconds[stage] += perf_counter() - started
