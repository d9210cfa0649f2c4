"""A conversation: what was said, word by word and compressed, and the next reply."""

import sys
from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING

import torch
from transformers.utils import logging

from ..modeling.conversation_memory_empathav import ConversationMemory
from ..modeling.generation_empathav import MEDIA_INPUTS
from ..modeling.prompt_cache_empathav import PromptCache
from ..processing.messages_empathav import Turn, parse_messages
from .careful_answer import answer, named_danger
from .forgetting import without
from .hearing import NOTHING_HEARD, Heard, clip_vectors, read_text
from .message import Message
from .reply import Reply, no_time, timed
from .writing import NEW_TOKENS


if TYPE_CHECKING:
    from .responder import Responder

logger = logging.get_logger(__name__)


class Conversation:
    r"""
    A conversation with a checkpoint, whose turns cost the same whenever they come.

    Between `recent_turns` and twice as many of the newest messages stay word by word, with the emotion vectors of
    their clips. When there are more, the older half is compressed in one pass, each message once. The KV cache is kept
    from turn to turn, so an ordinary turn reads what is new.

    Args:
        responder ([`Responder`]): Holds the checkpoint; several conversations may share it.
        messages (`Sequence[dict]`, *optional*):
            What was said before, as [`EmpathAVProcessor.apply_chat_template`] takes it. A system message at the
            beginning becomes `system`.
        memory ([`ConversationMemory`], *optional*): What was compressed before that.
        system (`str`, *optional*): System prompt; the processor's own by default.
        recent_turns (`int`, *optional*): Newest messages that always stay word by word; the processor's by default.
        keep_transcript (`bool`, *optional*, defaults to `False`):
            Whether the text of all messages is kept. Without, of compressed ones only vectors are.
        read_words (`bool`, *optional*, defaults to `False`):
            Whether turns of words alone are given probabilities of emotions, too. That takes one more forward pass,
            and they are what the language model guesses without having heard or seen anybody.

    Raises:
        `ValueError`: a message cannot be read, or the memory is of another checkpoint.

    Example:

    ```python
    conversation = Conversation(Responder("build/smollm2-135m-tuned"))
    print(conversation.say("I lost my job today.").response)
    for piece in conversation.stream(clips=["clip.mp4"]):
        print(piece if isinstance(piece, str) else piece.reading, flush=True)
    conversation.save("talk.safetensors")
    ```
    """

    def __init__(
        self,
        responder: "Responder",
        messages: Sequence[dict] = (),
        memory: ConversationMemory | None = None,
        system: str | None = None,
        recent_turns: int | None = None,
        keep_transcript: bool = False,
        read_words: bool = False,
    ):
        self.responder = responder
        self.recent_turns = responder.processor.recent_turns if recent_turns is None else recent_turns
        if self.recent_turns < 1:
            raise ValueError(f"recent_turns is {recent_turns}: the newest message stays as it is, so give 1 or more.")
        self.memory = responder.with_budget(memory)
        self.tail: list[Message] = []
        self.emotions: list[dict] = []
        self.read_words = read_words
        self.transcript: list[dict] | None = [] if keep_transcript else None
        self.files: dict[str, str] = {}
        self.cache = PromptCache()
        self.system = system
        self.safety = None  # of the newest turn, also while it is answered and where its reply was stopped
        if keep_transcript and self.memory.num_utterances:
            raise ValueError("The words of what is in a memory are gone: leave keep_transcript out, or begin anew.")
        self.add(messages)

    def __len__(self) -> int:
        """Number of messages that are remembered."""
        return self.memory.num_utterances + len(self.tail)

    @property
    def messages(self) -> list[dict]:
        """The newest messages, word by word: `{"role", "content", "emotion"?, "speaker"?}`."""
        return [message.to_dict() for message in self.tail]

    def say(self, text: str | None = None, clips: Sequence = (), heard: Heard | None = None, **generation) -> Reply:
        r"""
        Says something and returns the reply. Both are part of the conversation then; after an error neither is.

        Args:
            text (`str`, *optional*): What is said; transcribed from the clips by default.
            clips (`Sequence`): Sources of the turn's clips: audio or video.
            heard ([`Heard`], *optional*): What [`Responder.hear`] made of the clips, in their place.
            generation: Options of [`write`], such as `max_new_tokens`, and of `generate`.

        Raises:
            `ValueError`: a clip cannot be read, there is neither clip nor text, or they do not fit into the language
                model's positions.
        """
        for piece in self.stream(text, clips, heard, **generation):  # noqa: B007 (the last one counts)
            pass
        return piece

    def stream(
        self, text: str | None = None, clips: Sequence = (), heard: Heard | None = None, **generation
    ) -> Iterator[str | Reply]:
        r"""
        As [`~Conversation.say`], but gives the reply piece by piece, and at the end the [`Reply`].

        Where a danger was found the answer is one of [`Responder`]'s careful ones, and not the language model's. So is
        the next one, since it answers their question. Where one is in doubt, the first sentence is held back until it
        is whole, and a cheerful reply is replaced.

        Whoever closes the iterator stops the reply; what was written so far is kept as the answer. Where nothing was,
        the turn has not taken place.
        """
        seconds = no_time() | {"load": self.responder.load_seconds}
        asked, emotion, reading, view = self._hear(text, clips, heard, seconds)
        named = named_danger(self, asked.text)
        with timed(seconds, "compress"):
            inputs = self._prompt(asked, generation.get("max_new_tokens", NEW_TOKENS))
        writing, written, whole = answer(self, asked.text, inputs, generation, named), "", None
        try:
            while whole is None:
                try:
                    with timed(seconds, "generate"):
                        piece = next(writing)
                except StopIteration as end:
                    whole = end.value
                else:
                    written += piece
                    yield piece
        except (GeneratorExit, KeyboardInterrupt):
            writing.close()
            if written:
                self._keep(asked, written.rstrip(), emotion, reading)
            self.safety = self.safety or self.responder.safety_of_reply(written)
            raise
        self._keep(asked, whole.text, emotion, reading)
        self.safety = self.safety or self.responder.safety_of_reply(whole.text)
        with timed(seconds, "compress"):
            self._roll()
        tokens = {"prompt": inputs["input_ids"].shape[1], "cached": whole.cached, "reply": whole.tokens}
        yield Reply(
            asked.text,
            whole.text,
            emotion,
            self.memory,
            reading,
            len(self.tail),
            tokens,
            whole.ended,
            seconds,
            self.safety,
            view,
        )

    def add(self, messages: Sequence[dict]):
        r"""
        Takes over messages that were said elsewhere, after those that are there. The conversation is what it would be
        had they been said here.

        Args:
            messages (`Sequence[dict]`):
                As in [`EmpathAVProcessor.apply_chat_template`]. A system message at the beginning becomes `system`,
                unless there is one.

        Raises:
            `ValueError`: a message cannot be read. Nothing is added then.
        """
        labels, messages = self.responder.processor.emotion_labels, list(messages)
        turns = parse_messages(messages, labels, may_be_empty=True)
        if turns and turns[0].role == "system":
            self.system = turns[0].text if self.system is None else self.system
            turns, messages = turns[1:], messages[1:]
        excess = len(self.tail) + len(turns) - self._tail_after(turns)
        first = max(excess - len(self.tail), 0)
        said = [Message(turn.role, turn.text, turn.emotion, turn.speaker) for turn in turns]
        for message, turn in zip(said[first:], turns[first:]):
            message.vectors = clip_vectors(self.responder, turn.clips)
        encoded = self._encode(messages[:first]) if first else None
        self._compress(min(excess, len(self.tail)))
        if encoded is not None:
            self.memory = self.responder.model.compress(**encoded, memory=self.memory)
        self.tail += said[first:]
        if self.transcript is not None:
            self.transcript += [message.to_dict() for message in said]

    def hear(self, clips: Sequence, **options) -> Heard:
        """As [`Responder.hear`]: what clips say, so that it can be shown and corrected before it is said."""
        return self.responder.hear(clips, **options)

    def compress(self):
        """Compresses all that is still word by word, as a memory of its own may be wanted."""
        self._compress(len(self.tail))

    def forget(self, *turns: int):
        r"""
        Forgets messages, numbered from 0 as in `emotions` and [`ConversationMemory.turns`]; later ones move up.

        What is still word by word is gone without a trace. With `keep_transcript` so is the rest: the conversation is
        compressed again without it. Otherwise the vectors of a message are dropped. The state of the compressor, from
        which later messages are read, and what was said about it since may still hold something of it.

        Raises:
            `ValueError`: there is no such message, or its vectors were merged with those of others.
        """
        if wrong := [turn for turn in turns if not 0 <= turn < len(self)]:
            raise ValueError(f"There is no message {wrong[0]}: the conversation has {len(self)}, counted from 0.")
        first = self.memory.num_utterances
        if self.transcript is not None:
            self.transcript = [said for turn, said in enumerate(self.transcript) if turn not in turns]
        if (older := {turn for turn in turns if turn < first}) and self.transcript is not None:
            self.memory = self._read(self._nothing(), self.transcript[: first - len(older)])
        elif older:
            self.memory = without(self.memory, older)
        self.tail = [message for turn, message in enumerate(self.tail, first) if turn not in turns]
        kept = [felt for felt in self.emotions if felt["turn"] not in turns]
        self.emotions = [
            {**felt, "turn": felt["turn"] - sum(turn < felt["turn"] for turn in set(turns))} for felt in kept
        ]
        self.cache = PromptCache()

    def fork(self) -> "Conversation":
        """A conversation that goes on from here by itself. It costs next to nothing: what both hold is shared."""
        other = copy(self)
        other.tail, other.emotions = list(self.tail), list(self.emotions)
        other.transcript = None if self.transcript is None else list(self.transcript)
        other.files, other.cache = dict(self.files), self.cache.fork()
        return other

    def save(self, path, must_be_new: bool = False):
        """Writes the conversation to one file, see [`save_conversation`]."""
        from .conversation_file import save_conversation

        save_conversation(self, path, must_be_new)

    @classmethod
    def load(cls, path, responder: "Responder") -> "Conversation":
        """Reads what `save` wrote, see [`load_conversation`]."""
        from .conversation_file import load_conversation

        return load_conversation(path, responder)

    # Within a turn

    def _hear(self, text, clips, heard, seconds) -> tuple[Message, dict[str, float] | None, str | None, str]:
        """The user's message, the probability of each emotion, and reading and view of its clips."""
        if heard is None and len(clips):
            heard = self.responder.hear(clips, transcribe=text is None)
            seconds.update({stage: seconds[stage] + took for stage, took in heard.seconds.items()})
        if heard is None and not (text and text.strip()):
            raise ValueError("There is nothing to answer: give a clip, or a text, or both.")
        text = heard.text if text is None else text
        with timed(seconds, "generate"):
            blind = heard is None or heard.reading == NOTHING_HEARD and text.strip()
            words = read_text(self.responder, text) if blind and self.read_words else None
            emotion = words if blind else heard.emotion
        if heard is None:
            return Message("user", text), emotion, None, ""
        return Message("user", text, heard.felt, vectors=heard.vectors), emotion, heard.reading, heard.view

    def _prompt(self, asked: Message, max_new_tokens: int) -> dict:
        """Arguments of `generate`. Where the messages do not fit word by word, the older half is compressed."""
        positions = self.responder.positions
        if max_new_tokens >= positions:
            raise ValueError(
                f"{max_new_tokens} new tokens are more than the {positions} positions of the language model."
            )
        self._roll()
        room = positions - max(max_new_tokens, self.responder.processor.reply_tokens)
        while True:
            inputs = self._render(asked, sys.maxsize if self.tail else room)
            if inputs["input_ids"].shape[1] <= room:
                break
            count = (len(self.tail) + 1) // 2
            logger.warning(f"{count} more of the recent messages were compressed: word by word they do not fit.")
            self._compress(count)
        vectors = [message.vectors for message in [*self.tail, asked] if message.vectors is not None]
        if vectors:
            inputs["av_embeds"] = torch.cat(vectors)
        if self.memory.num_vectors:
            inputs["memory"] = self.memory
        return inputs

    def _render(self, asked: Message, max_length: int) -> dict:
        """Token ids and mask of the prompt, with the places of all vectors."""
        said = [message.in_prompt() for message in [*self.tail, asked]]
        if self.system is not None:
            said.insert(0, {"role": "system", "content": self.system})
        inputs = self.responder.processor.apply_chat_template(
            said,
            memory=self.memory,
            recent_turns=len(said),
            max_length=max_length,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        ).to(self.responder.device)
        return {name: value for name, value in inputs.items() if name not in MEDIA_INPUTS}

    def _keep(self, asked: Message, answer: str, emotion: dict[str, float] | None, reading: str | None):
        """Both messages of an exchange become part of the conversation."""
        if emotion is not None:
            self.emotions.append({"turn": len(self), "reading": reading, "scores": emotion})
        exchange = [asked, Message("assistant", answer)]
        self.tail += exchange
        if self.transcript is not None:
            self.transcript += [message.to_dict() for message in exchange]

    def _roll(self):
        """Compresses the older half of what is word by word, once that is full."""
        if len(self.tail) >= 2 * self.recent_turns:
            self._compress(len(self.tail) - self.recent_turns)

    def _tail_after(self, turns: Sequence[Turn]) -> int:
        """Number of messages that would be word by word had these been said here, one after the other."""
        tail = len(self.tail)
        for turn in turns:
            tail += 1
            full = tail >= 2 * self.recent_turns and turn.role == "assistant" or tail > 2 * self.recent_turns
            tail = self.recent_turns if full else tail
        return tail

    def _compress(self, count: int):
        """Compresses the oldest `count` messages that are still word by word."""
        if count:
            self.memory = self._read(self.memory, [message.to_dict() for message in self.tail[:count]])
            self.tail = self.tail[count:]

    def _read(self, memory: ConversationMemory, messages: list[dict]) -> ConversationMemory:
        return self.responder.model.compress(**self._encode(messages), memory=memory)

    def _encode(self, messages: list[dict]) -> dict:
        return self.responder.processor.encode_history(messages).to(self.responder.device)

    def _nothing(self) -> ConversationMemory:
        """An empty memory with the budget of this one."""
        return self.responder.model.empty_memory(max_vectors=self.memory.max_vectors)
