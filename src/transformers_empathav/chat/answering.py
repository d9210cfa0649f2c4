"""Answers requests that bring their whole history: what is known of it is gone on with, the rest is read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..processing.media_limits_empathav import MediaLimits
from ..processing.messages_empathav import MediaPart, Turn, parse_messages, shown
from ..processing.openai_parts_empathav import OPENAI_TYPES
from .addresses import check_address
from .conversation import Conversation
from .hearing import Heard
from .known_beginnings import KnownBeginnings, first_key, next_key
from .reply import Reply
from .shared_responder import SharedResponder


READ_AT_ONCE = 32  # messages; others have their turn in between
CHARACTERS = 8  # of one message, for each position of the language model: more is no message
TYPES = ("text", *OPENAI_TYPES)


@dataclass
class Begun:
    """A request whose history is read and whose newest message was heard: `known` of `messages` were known."""

    conversation: Conversation
    key: str
    asked: Turn
    heard: Heard | None
    known: int
    messages: int


class Answerer:
    r"""
    Answers requests in OpenAI's form. Any thread may use it.

    Args:
        responder ([`SharedResponder`]): Hears and writes.
        beginnings ([`KnownBeginnings`]): What is known already.
        limits (`MediaLimits`): On each clip.
        allow_urls (`bool`, *optional*, defaults to `False`): Whether addresses of clips are fetched.
    """

    def __init__(
        self,
        responder: SharedResponder,
        beginnings: KnownBeginnings,
        limits: MediaLimits,
        allow_urls: bool = False,
    ):
        self.responder, self.beginnings = responder, beginnings
        self.limits, self.allow_urls = limits, allow_urls
        fingerprint = responder.model.model.compressor_fingerprint()
        self.settings = (fingerprint, str(responder.processor.recent_turns), str(responder.max_vectors))

    def begin(self, messages: Sequence[Mapping], go_on: Callable[[], None] = lambda: None) -> Begun:
        r"""
        Reads what is not known of a history, and hears the newest message.

        Args:
            messages (`Sequence[dict]`): As clients of OpenAI's chat completions send them.
            go_on (`Callable`, *optional*): Called now and then; what it raises ends the work.

        Raises:
            `ValueError`: a message or a clip cannot be read, or the newest message is not the user's.
        """
        turns = self.turns(messages)
        system = turns.pop(0).text if turns[0].role == "system" else None
        if not turns or turns[-1].role != "user":
            raise ValueError("The last message is not the user's: there is nothing to answer.")
        *history, asked = turns
        if not asked.clips and not asked.text.strip():
            raise ValueError("The last message is empty: give a clip, or a text, or both.")
        keys = list(accumulate(history, next_key, initial=first_key(*self.settings, system)))
        known, conversation = self.beginnings.longest(keys[1:])
        if conversation is None:
            conversation = Conversation(self.responder, system=system)
        for start in range(known, len(history), READ_AT_ONCE):
            self._add(conversation, history[start : start + READ_AT_ONCE], go_on)
        if known < len(history):
            self.beginnings.keep(keys[-1], conversation)
            conversation = conversation.fork()
        return Begun(conversation, keys[-1], asked, self._hear(asked, go_on), known, len(history))

    def stream(self, begun: Begun, **generation) -> Iterator[str | Reply]:
        """
        As [`Conversation.stream`], and may be called several times for one request. The conversation is known, and in
        the store, when the reply comes.
        """
        conversation = begun.conversation.fork()
        # What comes out of `Conversation.stream` is whole before the conversation is what its reply makes it.
        for piece in conversation.stream(begun.asked.text or None, heard=begun.heard, **generation):
            if isinstance(piece, Reply):
                key = next_key(next_key(begun.key, begun.asked), Turn("assistant", [piece.response]))
                self.beginnings.keep(key, conversation, after=begun.key)
                self.beginnings.store_as(key, conversation)
            yield piece

    def turns(self, messages: Sequence[Mapping]) -> list[Turn]:
        """Checked messages, see [`Answerer.begin`]."""
        labels = self.responder.processor.emotion_labels
        names = [f"Message {number}" for number in range(1, len(messages) + 1)]
        turns = parse_messages([plain(*item) for item in zip(messages, names)], labels)
        for place, turn in enumerate(turns):
            if turn.role == "system" and place:
                raise ValueError(f"{turn.name} is a system message: only the first one may be.")
            if turn.clips and turn.role != "user":
                raise ValueError(f"{turn.name} is the assistant's and has a clip: only the user's may have one.")
            if len(turn.text) > (most := CHARACTERS * self.responder.positions):
                raise ValueError(f"{turn.name} has {len(turn.text)} characters and may have {most}: shorten it.")
            for clip in turn.clips:
                if isinstance(clip.source, str):
                    check_address(clip.source, turn.name, self.allow_urls)
        return turns

    def _add(self, conversation: Conversation, turns: Sequence[Turn], go_on: Callable[[], None]):
        """Messages that were said before, with what is heard in their clips."""
        heard = [self._hear(turn, go_on) for turn in turns]
        said = []
        for turn, found in zip(turns, heard):
            message = {"role": turn.role, "content": turn.text or (found.text if found else "")}
            said.append(message | ({"emotion": found.felt} if found and found.felt else {}))
        conversation.add(said)
        for message, found in zip(reversed(conversation.tail), reversed(heard)):
            message.vectors = found.vectors if found else None

    def _hear(self, turn: Turn, go_on: Callable[[], None]) -> Heard | None:
        go_on()
        if not turn.clips:
            return None
        windows = [self._load(clip) for clip in turn.clips]
        return self.responder.hear(windows, transcribe=not turn.text)

    def _load(self, clip: MediaPart) -> list:
        load = self.responder.processor.load_clip
        return load(clip.source, kind="any", limits=self.limits, allow_urls=self.allow_urls)


def plain(message: Mapping, name: str) -> Mapping:
    """A message of OpenAI's form as one of ours, if it holds what is read here and nothing else."""
    if not isinstance(message, Mapping):
        raise ValueError(f"{name} is no object with 'role' and 'content'.")
    if unread := [key for key, value in message.items() if key not in ("role", "content") and value]:
        raise ValueError(f"{name} has {shown(unread[0])}, which is not read here: leave it out.")
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in TYPES:
            raise ValueError(f"{name} has a part of the unknown type {shown(kind)}: use one of {', '.join(TYPES)}.")
    role = message.get("role")
    return {"role": "system" if role == "developer" else role, "content": content}
