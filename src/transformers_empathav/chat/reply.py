"""A reply, and how it came about."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from ..modeling.conversation_memory_empathav import ConversationMemory
from .safety import Safety


STAGES = ("load", "media", "transcribe", "compress", "generate")


def no_time() -> dict[str, float]:
    """No second in any stage yet."""
    return dict.fromkeys(STAGES, 0.0)


@contextmanager
def timed(seconds: dict[str, float], stage: str):
    """Adds the time of its body to a stage."""
    started = perf_counter()
    yield
    seconds[stage] += perf_counter() - started


@dataclass
class Reply:
    """
    A reply and how it came about.

    Args:
        transcript (`str`): What the person said or wrote; empty for a clip without speech.
        response (`str`): The answer.
        emotion (`dict[str, float]`, *optional*):
            Probability of each emotion; `None` where nobody was heard or seen, unless the words alone were to be read.
        memory ([`ConversationMemory`]): What was compressed of all that was said.
        reading (`str`, *optional*):
            What the clips of the turn show: an emotion, or why none counts, see [`Heard`]; `None` without clips.
        verbatim (`int`): Newest messages, with this exchange, that are kept word by word and are not in `memory`.
        tokens (`dict[str, int]`):
            Positions of the language model: of the `prompt`, those of it that were `cached`, and of the `reply`.
        ended (`str`): `"stop"`, or `"length"` where `max_new_tokens` ended it.
        seconds (`dict[str, float]`): Time of each stage: load, media, transcribe, compress, generate.
        safety ([`Safety`], *optional*): A danger that the person spoke of, and who helps. Show it beside the reply.
        view (`str`): What limits what was seen of the person, see [`Heard`]; empty without a limit.
    """

    transcript: str
    response: str
    emotion: dict[str, float] | None
    memory: ConversationMemory
    reading: str | None = None
    verbatim: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "cached": 0, "reply": 0})
    ended: str = "stop"
    seconds: dict[str, float] = field(default_factory=no_time)
    safety: Safety | None = None
    view: str = ""

    @property
    def label(self) -> str | None:
        """The likeliest emotion."""
        return None if self.emotion is None else max(self.emotion, key=self.emotion.get)

    @property
    def feeling(self) -> dict | None:
        """Label, scores and reading, as JSON gives them."""
        if self.emotion is None and self.reading is None:
            return None
        return {"label": self.label, "scores": self.emotion, "reading": self.reading}

    def to_dict(self) -> dict:
        """What `empathav respond --json` prints."""
        return {
            "transcript": self.transcript,
            "response": self.response,
            "emotion": self.feeling,
            "memory": held(self.memory, self.verbatim),
            "safety": None if self.safety is None else self.safety.to_dict(),
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
        }


def held(memory: ConversationMemory, verbatim: int = 0) -> dict[str, int]:
    """The sizes of a memory and of the `verbatim` messages after it."""
    return {
        "utterances": memory.num_utterances + verbatim,
        "verbatim": verbatim,
        "vectors": memory.num_vectors,
        "bytes": memory.nbytes,
        "merged_utterances": memory.merged_utterances,
    }
