"""From clips and text to a reply."""

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch
from transformers.utils import logging

from ..checkpoint.loading import ASR_FOLDER, load_checkpoint
from ..modeling.conversation_memory_empathav import ConversationMemory
from ..modeling.generation_empathav import MEDIA_INPUTS, given_inputs
from ..modeling.memory_check_empathav import LARGEST, check_budget
from .transcriber import Transcriber


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
            Budget of every memory, beyond which the oldest utterances are merged. By default each has its own, or
            half the language model's positions where it has none, or one beyond all positions.

    Raises:
        `ValueError`: the checkpoint is damaged or of another kind of model, or the budget is none.
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
        self.positions = self.processor.tokenizer.model_max_length
        self.largest_own_budget = 0 if max_vectors is not None else self.positions - 1
        self.max_vectors = min(self.positions // 2, LARGEST) if max_vectors is None else max_vectors
        check_budget(self.model.config.memory_tokens_per_utterance, self.max_vectors)
        self.load_seconds = perf_counter() - started
        own = Path(checkpoint) / ASR_FOLDER
        name = asr if asr is not None else str(own) if own.is_dir() else None
        rate = self.processor.feature_extractor.sampling_rate
        self.transcribe = Transcriber(name, rate, self.device, self.model.dtype)

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
        if max_new_tokens >= self.positions:
            raise ValueError(
                f"{max_new_tokens} new tokens are more than the {self.positions} positions of the language model."
            )
        self.check_memory(memory)
        older = list(history)
        if older and isinstance(older[0], dict) and older[0].get("role") == "system":
            older = older[1:]  # it heads every prompt, and is no part of what was said
        if older:
            self.processor.encode_history(older)  # what cannot be remembered is refused before the work begins
        if older or memory is not None:
            memory = self._with_budget(memory)
        seconds = dict.fromkeys(STAGES, 0.0) | {"load": self.load_seconds}
        with timed(seconds, "media"):
            decoded = [self.processor.load_clip(clip, kind="any") for clip in clips]
        if text is None:
            with timed(seconds, "load"):
                self.transcribe.load()
            with timed(seconds, "transcribe"):
                windows = [window for clip in decoded for window in clip]
                text = self.transcribe([window.audio for window in windows if window.audio is not None])
        parts = [{"type": "video", "video": windows} for windows in decoded] + [{"type": "text", "text": text}]
        with timed(seconds, "media"):
            inputs = self.processor.apply_chat_template(
                [*history, {"role": "user", "content": parts}],
                memory=memory,
                max_length=self.positions - max(max_new_tokens, self.processor.reply_tokens),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            ).to(self.device)
        with timed(seconds, "compress"):
            memory, read = self._read_history(inputs, memory)
        with timed(seconds, "generate"):
            if media := given_inputs(inputs, MEDIA_INPUTS):  # encoded once: for the emotion and for every try
                with torch.no_grad():
                    inputs["av_embeds"] = self.model.get_av_features(**media)
            scores = self.model.predict_emotion(**inputs)[0].tolist()
            emotion = dict(zip(self.model.config.emotion_labels, scores))
            response = self._write(inputs, memory, max_new_tokens, generation_kwargs)
        with timed(seconds, "compress"):
            said = {"role": "user", "content": text, "emotion": max(emotion, key=emotion.get)}
            spoken = [*older, said, {"role": "assistant", "content": response}][read:]
            spoken = self.processor.encode_history(spoken).to(self.device)
            memory = self.model.compress(**spoken, memory=self._with_budget(memory))
        return Reply(text, response, emotion, memory, seconds)

    def _with_budget(self, memory: ConversationMemory | None) -> ConversationMemory:
        """The memory, an empty one for `None`, within its budget or the one that all have here."""
        memory = self.model.empty_memory() if memory is None else memory
        own = memory.max_vectors is not None and memory.max_vectors <= self.largest_own_budget
        return memory if own else replace(memory, max_vectors=self.max_vectors)

    def _read_history(self, inputs, memory: ConversationMemory | None) -> tuple[ConversationMemory | None, int]:
        """Compresses the history in `inputs`, takes it out of them, and says how many messages it was."""
        if "history_input_ids" not in inputs:
            return memory, 0
        history = {name: inputs.pop(name) for name in ("history_input_ids", "history_attention_mask")}
        before = memory.num_utterances
        memory = self.model.compress(**history, memory=memory)
        return memory, memory.num_utterances - before

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
        self.model.model.check_memory(memory)

    def _write(self, inputs, memory, max_new_tokens: int, options: dict) -> str:
        """The reply. Where the model writes white space alone it must go on, and in a third try it samples."""
        options = {"max_new_tokens": max_new_tokens, "do_sample": False, "repetition_penalty": 1.1, **options}
        prompt_length = inputs["input_ids"].shape[1]
        if options.get("num_return_sequences", 1) != 1:
            raise ValueError("A reply is one: leave num_return_sequences out, or use model.generate for several.")
        for attempt in ({}, {"min_new_tokens": 8}, {"min_new_tokens": 8, "do_sample": True}):
            if attempt.get("do_sample") and not options["do_sample"]:
                logger.warning("The model wrote nothing twice: this reply is sampled, and may differ the next time.")
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
