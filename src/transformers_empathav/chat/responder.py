"""What a turn needs of a checkpoint: clips are heard, replies are written."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter

import torch
from transformers.utils import logging

from ..checkpoint.danger_reading import DangerReading, Watch, newest_message
from ..checkpoint.loading import load_checkpoint, own_recogniser
from ..modeling.conversation_memory_empathav import ConversationMemory
from ..modeling.memory_check_empathav import LARGEST, check_budget
from ..modeling.prompt_cache_empathav import PromptCache
from .conversation import Conversation
from .fused_layers import fuse_layers
from .grouped_attention import group_heads
from .hearing import Heard, hear
from .int8_linear import to_int8
from .reply import Reply, timed
from .safety import CAREFUL, CHECK, Safety, SafetyLexicon
from .transcriber import Transcriber
from .writing import write


logger = logging.get_logger(__name__)


class Responder:
    r"""
    Holds a checkpoint and answers turns. For a conversation of several turns see [`Conversation`]. On a CPU its
    `model` is changed so that it answers faster: load the checkpoint anew to train or save it.

    Args:
        checkpoint (`str` or `os.PathLike`): A directory of `empathav assemble`, or a Hub id.
        asr (`str`, *optional*):
            A speech recogniser of transformers for turns without text; the checkpoint's own `asr` folder by default,
            `""` for none.
        device (`str`, *optional*): CUDA where there is one by default.
        max_vectors (`int`, *optional*):
            Budget of every memory, beyond which the oldest utterances are merged. By default each has its own, or
            half the language model's positions where it has none, or one beyond all positions.
        safety (`Callable[[str], Safety | None]`, *optional*):
            Looks for a danger that a person speaks of. By default a [`SafetyLexicon`] of English, which looks at
            replies, too, and the checkpoint's [`DangerReading`] where it has one. Any other callable takes the place
            of all three.
        limits (`dict`, *optional*): Limits on clips that differ from the processor's, see [`MediaLimits`].
        int8 (`bool`, *optional*, defaults to `False`):
            Whether the language model's weights are rounded to 8 bits, which makes a token faster on a CPU; see
            [`to_int8`].
        careful (`bool` or `Sequence[str]`, *optional*, defaults to `True`):
            Whether a danger that was found is answered by `CAREFUL`, since a small language model cheers, and a
            cheerful reply to one that is in doubt is replaced by `CHECK`; `False` lets it answer. Or answers of your
            own, for the first time, the second and so on; the first one is that for doubt, too.

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
        safety: Callable[[str], Safety | None] | None = None,
        limits: dict | None = None,
        int8: bool = False,
        careful: bool | Sequence[str] = True,
    ):
        started = perf_counter()
        self.model, self.processor = load_checkpoint(checkpoint, device)
        group_heads(self.model.model.language_model)
        fuse_layers(self.model.model.language_model)
        if int8:
            to_int8(self.model)
        self.device = self.model.device
        self.positions = self.processor.tokenizer.model_max_length
        self.largest_own_budget = 0 if max_vectors is not None else self.positions - 1
        self.max_vectors = min(self.positions // 2, LARGEST) if max_vectors is None else max_vectors
        check_budget(self.model.config.memory_tokens_per_utterance, self.max_vectors)
        self.load_seconds = perf_counter() - started
        self.processor.limits = {**(self.processor.limits or {}), **(limits or {})}
        name = own_recogniser(checkpoint) if asr is None else asr
        self.safety = SafetyLexicon() if safety is None else safety
        self.danger = DangerReading.of(self.model.name_or_path) if isinstance(self.safety, SafetyLexicon) else None
        self.careful = CAREFUL if careful is True else tuple(careful or ())
        self.check = CHECK if careful is True else (*self.careful, None)[0]
        self.threshold = self.model.config.emotion_threshold
        rate = self.processor.feature_extractor.sampling_rate
        self.transcribe = Transcriber(name, rate, self.device, self.model.dtype)

    def __call__(
        self,
        clips: Sequence[str | os.PathLike] = (),
        text: str | None = None,
        history: Sequence[dict] = (),
        memory: ConversationMemory | None = None,
        **generation,
    ) -> Reply:
        r"""
        Answers one user turn and forgets it again: all that was said is in the memory of the reply.

        Args:
            clips (`Sequence`): Sources of the turn's clips: audio or video.
            text (`str`, *optional*): What was said or written; transcribed from the clips by default.
            history (`Sequence[dict]`): Messages before this turn; the memory of the reply holds them too.
            memory ([`ConversationMemory`], *optional*): What was compressed before `history`.
            generation: As in [`Conversation.say`].

        Raises:
            `ValueError`: a clip or a message cannot be read, there is neither clip nor text, they do not fit into the
                language model's positions, or the memory is of another checkpoint.
        """
        conversation = Conversation(self, messages=history, memory=memory, read_words=True)
        reply = conversation.say(text, clips, **generation)
        with timed(reply.seconds, "compress"):
            conversation.compress()
        return replace(reply, memory=conversation.memory, verbatim=0)

    def hear(self, clips: Sequence, transcribe: bool = True, limits=None) -> Heard:
        """What clips say, and the emotion in them; see [`hear`]. Their words may be corrected before they are said."""
        return hear(self, clips, transcribe, limits)

    def write(self, inputs: dict, cache: PromptCache | None, **options) -> Iterator[str]:
        """
        Writes a reply, at least one piece of it; see [`write`]. Replace it to write elsewhere, or for several
        conversations at once. A `watch` among the options may be left uncalled: danger is then read by itself.
        """
        return write(self.model, self.processor.tokenizer, inputs, cache, **options)

    def watch(self, input_ids: torch.LongTensor) -> Watch | None:
        """For [`~Responder.write`]: reads danger in the newest message of a prompt `(1, length)`, where it can be."""
        if self.danger is None:
            return None
        tokens = newest_message(self.model.config, input_ids[0].tolist())
        return Watch(self.danger, self.model.model.language_model, tokens)

    def find_danger(self, text: str, score: float | None = None) -> Safety | None:
        r"""
        Who helps, where a person speaks of acute danger, or may do so; `None` where nothing is found.

        Args:
            text (`str`): The message.
            score (`float`, *optional*): Of a [`Watch`]; else it is read by itself, in a pass of its own.
        """
        found = self.safety(text)
        if found is None and self.danger is not None and text.strip():
            score = self.danger.score(self.model, self.processor, text) if score is None else score
            if score >= self.danger.settings["doubt"]:
                found = self.safety.unnamed(sure=score >= self.danger.settings["threshold"])
        return found

    def safety_of_reply(self, reply: str) -> Safety | None:
        """Who helps, where a reply sends to them though nothing was found in what the person said."""
        of_reply = getattr(self.safety, "of_reply", None)
        return None if of_reply is None else of_reply(reply)

    def with_budget(self, memory: ConversationMemory | None) -> ConversationMemory:
        """
        The memory, an empty one for `None`, within its own budget or the one that all have here.

        Raises:
            `ValueError`: `memory` is not one conversation of this checkpoint.
        """
        if memory is None:
            return self.model.empty_memory(max_vectors=self.max_vectors)
        if len(memory) != 1:
            raise ValueError(
                f"The memory holds {len(memory)} conversations and a turn belongs to one: use memory.select."
            )
        memory = memory.to(self.device)
        self.model.model.check_memory(memory)
        own = memory.max_vectors is not None and memory.max_vectors <= self.largest_own_budget
        return memory if own else replace(memory, max_vectors=self.max_vectors)
