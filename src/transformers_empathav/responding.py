"""From clips to a reply: what the command line, the demonstration and the web app share."""

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

from .modeling.conversation_memory_empathav import ConversationMemory
from .modeling.modeling_empathav import EmpathAVForCausalLM
from .processing.processing_empathav import EmpathAVProcessor


ASR_FOLDER = "asr"
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
        held = {"utterances": self.memory.num_utterances, "vectors": self.memory.num_vectors, "bytes": self.memory.nbytes}
        return {
            "transcript": self.transcript,
            "response": self.response,
            "emotion": {"label": self.label, "scores": self.emotion},
            "memory": held,
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
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
    """

    def __init__(self, checkpoint: str | os.PathLike, asr: str | None = None, device: str | None = None):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        # Few CPUs multiply in bfloat16; where it is emulated, float32 is several times faster.
        dtype = torch.float32 if self.device.type == "cpu" else "auto"
        started = perf_counter()
        self.model = EmpathAVForCausalLM.from_pretrained(checkpoint, dtype=dtype).to(self.device).eval()
        self.processor = EmpathAVProcessor.from_pretrained(checkpoint)
        self.load_seconds = perf_counter() - started
        own = Path(checkpoint) / ASR_FOLDER
        self.asr_name = asr if asr is not None else str(own) if own.is_dir() else ""
        self._asr = None

    def transcribe(self, sounds: Sequence) -> str:
        """What is said in sounds `(samples,)` at the processor's sampling rate; empty without a recogniser."""
        if not self.asr_name or not sounds:
            return ""
        if self._asr is None:
            model = AutoModelForSpeechSeq2Seq.from_pretrained(self.asr_name, dtype=self.model.dtype).to(self.device)
            self._asr = model.eval(), AutoProcessor.from_pretrained(self.asr_name)
        model, processor = self._asr
        rate = processor.feature_extractor.sampling_rate
        features = processor(list(sounds), sampling_rate=rate, return_tensors="pt", return_attention_mask=True)
        inputs = {name: tensor.to(self.device) for name, tensor in features.items()}
        inputs["input_features"] = inputs["input_features"].to(model.dtype)
        texts = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)
        return " ".join(text.strip() for text in texts).strip()

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
            history (`Sequence[dict]`): Messages before this turn.
            memory ([`ConversationMemory`], *optional*): What was compressed before `history`.
            max_new_tokens (`int`): Longest reply, in tokens.

        Raises:
            `ValueError`: a clip cannot be read, or there is neither clip nor text.
        """
        if not clips and not text:
            raise ValueError("There is nothing to answer: give a clip, or a text, or both.")
        seconds = dict.fromkeys(STAGES, 0.0) | {"load": self.load_seconds}
        with timed(seconds, "media"):
            decoded = [self.processor.load_clip(clip, kind="any") for clip in clips]
        if text is None:
            with timed(seconds, "transcribe"):
                windows = [window for clip in decoded for window in clip]
                text = self.transcribe([window.audio for window in windows if window.audio is not None])
        parts = [{"type": "video", "video": windows} for windows in decoded] + [{"type": "text", "text": text}]
        with timed(seconds, "media"):
            inputs = self.processor.apply_chat_template(
                [*history, {"role": "user", "content": parts}],
                memory=memory,
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
            spoken = [*history, said, {"role": "assistant", "content": response}]
            spoken = [message for message in spoken if message["role"] != "system"]
            memory = self.model.compress(**self.processor.encode_history(spoken).to(self.device), memory=memory)
        return Reply(text, response, emotion, memory, seconds)

    def _write(self, inputs, memory, max_new_tokens: int, options: dict) -> str:
        """The reply; where the model ends at once or writes white space alone, it is made to go on, then to try again."""
        options = {"max_new_tokens": max_new_tokens, "do_sample": False, "repetition_penalty": 1.1, **options}
        prompt_length = inputs["input_ids"].shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for attempt in ({}, {"min_new_tokens": 8}, {"min_new_tokens": 8, "do_sample": True}):
                written = self.model.generate(**inputs, memory=memory, **{**options, **attempt})
                response = self.processor.decode(written[0, prompt_length:], skip_special_tokens=True).strip()
                if response:
                    return response
        raise ValueError("The model wrote nothing but white space: raise max_new_tokens, or sample with do_sample=True.")


@contextmanager
def timed(seconds: dict[str, float], stage: str):
    started = perf_counter()
    yield
    seconds[stage] += perf_counter() - started
