"""A visitor of the web page: one conversation, what was just heard, and the words that are shown."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..processing.media_empathav import MediaLimits
from .conversation import Conversation
from .conversation_file import pack_conversation, unpack_conversation
from .hearing import PLACE, Heard
from .reply import Reply


if TYPE_CHECKING:
    from .responder import Responder


@dataclass(frozen=True)
class Limits:
    """
    What a visitor may send.

    Args:
        seconds (`float`): Longest clip.
        megabytes (`int`): Largest file.
        characters (`int`): Longest message.
    """

    seconds: float = 120.0
    megabytes: int = 64
    characters: int = 4000

    def of_clips(self) -> MediaLimits:
        return MediaLimits(max_seconds=self.seconds, max_bytes=self.megabytes * 2**20)


@dataclass
class Line:
    """A message as the page shows it: what its clip was read as, how many windows that had, and who was in view."""

    role: str
    text: str
    reading: str | None = None
    windows: int = 0
    view: str = ""

    def in_prompt(self) -> dict:
        """As a message of a prompt that has all words in it."""
        clips = [{"type": "video", "video": [PLACE]}] * self.windows
        return {"role": self.role, "content": [*clips, {"type": "text", "text": self.text}]}


class Visit:
    r"""
    What the page knows of one visitor. It is in memory alone, and gone with the visit.

    Args:
        responder ([`Responder`]): Holds the checkpoint, for all visitors.
        limits ([`Limits`], *optional*): What may be sent.
        generation: Options of [`Conversation.say`], the same for all turns.
    """

    def __init__(self, responder: "Responder", limits: Limits | None = None, **generation):
        self.responder, self.limits, self.generation = responder, limits or Limits(), generation
        self.session: str | None = None  # Gradio's name of it
        self.begin()

    @property
    def labels(self) -> list[str]:
        """The emotions."""
        return list(self.responder.model.config.emotion_labels)

    def begin(self):
        """Forgets everything."""
        self._take(Conversation(self.responder))

    def _take(self, conversation: Conversation):
        self.conversation = conversation
        first = conversation.memory.num_utterances
        self.lines: list[Line | None] = [None] * first  # one for each message; None where its words are gone
        readings = {felt["turn"]: felt["reading"] for felt in conversation.emotions}
        for turn, message in enumerate(conversation.tail, first):
            windows = 0 if message.vectors is None else len(message.vectors)
            self.lines.append(Line(message.role, message.text, readings.get(turn), windows))
        self.heard: Heard | None = None
        self.safety = None  # the newest danger that was spoken of; it stays
        self.prompt = 0  # positions of the newest prompt
        self.stopped = threading.Event()

    def hear(self, path: str | os.PathLike, transcribe: bool = True) -> Heard:
        r"""
        Hears a clip and deletes its file. It becomes part of the conversation with the next message.

        Raises:
            `ValueError`: it cannot be read, or is too long.
        """
        self.heard = None
        self.heard = self.responder.hear([self._taken(path)], transcribe, self.limits.of_clips())
        return self.heard

    def say(self, text: str) -> Iterator[str | Reply]:
        r"""
        Answers a message, with what was heard before it; gives pieces of the reply and at last the [`Reply`].

        `stop` ends it early: what is written then is the reply.

        Raises:
            `ValueError`: there is nothing to answer, or it is too long. The turn has not taken place then.
        """
        if len(text) > self.limits.characters:
            raise ValueError(
                f"The message has {len(text):,} characters, and at most {self.limits.characters:,} are taken: "
                "shorten it."
            )
        heard, before, written = self.heard, len(self.conversation), ""
        self.stopped.clear()
        stream = self.conversation.stream(text, heard=heard, **self.generation)
        try:
            for piece in stream:
                if isinstance(piece, Reply):
                    written, self.prompt = piece.response, piece.tokens["prompt"]
                else:
                    written += piece
                yield piece
                if self.stopped.is_set():
                    break
        finally:
            stream.close()
            self.safety = self.conversation.safety or self.safety
            if len(self.conversation) > before:
                asked = Line("user", text)
                if heard is not None:
                    asked = Line("user", text, heard.reading, len(heard.vectors), heard.view)
                self.lines += [asked, Line("assistant", written.rstrip())]
                self.heard = None

    def stop(self):
        """Ends the reply that is being written."""
        self.stopped.set()

    def forget(self, turns: list[int]):
        """Forgets messages by their numbers, see [`Conversation.forget`]."""
        self.conversation.forget(*turns)
        self.lines = [line for turn, line in enumerate(self.lines) if turn not in turns]

    def pack(self) -> bytes:
        """The conversation as a file."""
        return pack_conversation(self.conversation)

    def reopen(self, path: str | os.PathLike):
        r"""
        Goes on with a conversation that was saved, and deletes the uploaded file.

        Raises:
            `ValueError`: it is no conversation of this checkpoint. The present one goes on then.
        """
        file = self._taken(path)
        self._take(unpack_conversation(file.getvalue(), self.responder, file.name))

    def _taken(self, path: str | os.PathLike) -> io.BytesIO:
        """The content of an uploaded file, by the name that it came with; the file is deleted."""
        path = Path(path)
        try:
            if path.stat().st_size > self.limits.megabytes * 2**20:
                raise ValueError(f"{path.name} is larger than {self.limits.megabytes} MB: cut it, or convert it.")
            file = io.BytesIO(path.read_bytes())
        finally:
            path.unlink(missing_ok=True)
        file.name = path.name
        return file

    def full_prompt(self) -> int:
        """Positions that the newest prompt would have with all known words in it."""
        said = [line.in_prompt() for line in self.lines[:-1] if line is not None]
        if not said:
            return 0
        whole = self.responder.processor.apply_chat_template(
            said, recent_turns=len(said), max_length=sys.maxsize, add_generation_prompt=True, tokenize=True
        )
        return len(whole[0])
