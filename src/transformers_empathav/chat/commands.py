"""What a line of a chat does: it is said, or it is a command such as `/clip talk.mp4`."""

import shlex
from pathlib import Path

from .conversation import Conversation
from .recall import contents
from .responder import Responder
from .terminal import Screen
from .writing import NEW_TOKENS


HELP = {
    "/clip FILE ...": "hear and see clips, and answer what they say",
    "/emotion": "emotions of all turns so far",
    "/memory": "what is remembered, and how",
    "/forget N ...": "forget messages by their numbers in /memory",
    "/save FILE": "write the conversation to a file",
    "/load FILE": "go on with a conversation that was saved",
    "/new": "begin a new conversation",
    "/system TEXT": "set the system prompt; without a text show it",
    "/set NAME VALUE": "max_new_tokens, temperature, top_p or seed; `off` for none; without a name show them",
    "/help": "this list",
    "/quit": "end (or Ctrl-D)",
}
# Each with its kind and its least and greatest value.
SETTINGS = {
    "max_new_tokens": (int, 1, 10**6),
    "temperature": (float, 0.01, 10),
    "top_p": (float, 0.01, 1),
    "seed": (int, 0, 2**63 - 1),
}


class Chat:
    r"""
    A conversation, line by line.

    Args:
        responder ([`Responder`]): Holds the checkpoint.
        screen ([`Screen`]): Where everything is shown.
        conversation ([`Conversation`]): What is gone on with.
        settings (`dict`, *optional*): Some of `max_new_tokens`, `temperature`, `top_p`, `seed`.
        file (`Path`, *optional*): Where the conversation is saved after each exchange.
    """

    def __init__(
        self,
        responder: Responder,
        screen: Screen,
        conversation: Conversation,
        settings: dict | None = None,
        file: Path | None = None,
    ):
        self.responder, self.screen, self.conversation, self.file = responder, screen, conversation, file
        self.settings = {"max_new_tokens": NEW_TOKENS, **(settings or {})}

    def line(self, text: str) -> bool:
        """
        Does what a line asks for, and says whether the chat goes on. An interrupt (Ctrl-C) ends a reply, not the chat.

        Raises:
            `ValueError`, `OSError`: what cannot be done, in one line; the conversation is as it was.
        """
        text = text.strip()
        name, _, rest = text.partition(" ")
        if not text.startswith("/"):
            if text:
                self.answer(text)
            return True
        if name == "/quit":
            return False
        do = {
            "/clip": self.clip,
            "/emotion": self.emotion,
            "/memory": self.memory,
            "/forget": self.forget,
            "/save": self.save,
            "/load": self.load,
            "/new": self.new,
            "/system": self.system,
            "/set": self.set,
            "/help": self.help,
        }.get(name)
        if do is None:
            raise ValueError(f"{name} is no command: /help lists them.")
        do(rest.strip())
        return True

    def answer(self, text: str | None, heard=None):
        """Shows the reply as it comes."""
        stream = self.conversation.stream(text, heard=heard, **self.options())
        try:
            for piece in stream:
                if isinstance(piece, str):
                    self.screen.piece(piece)
                else:
                    self.screen.after(piece)
        except KeyboardInterrupt:
            stream.close()
            self.screen.stopped()
        if self.conversation.safety is not None:  # a stopped reply, too
            self.screen.help(self.conversation.safety)
        if self.file is not None:
            try:
                self.conversation.save(self.file)
            except KeyboardInterrupt:  # it was meant for the reply, which had just ended
                self.conversation.save(self.file)

    def options(self) -> dict:
        """Options of the next reply."""
        sampled = "temperature" in self.settings or "top_p" in self.settings
        options = self.settings if sampled else {"max_new_tokens": self.settings["max_new_tokens"]}
        return {**options, "do_sample": sampled}

    # Commands

    def clip(self, rest: str):
        files = shlex.split(rest)
        if not files:
            raise ValueError("/clip needs the name of a sound or video: /clip talk.mp4")
        heard = self.conversation.hear(files)
        self.screen.hearing(heard.text, heard.reading, heard.emotion, heard.view)
        self.answer(None, heard)

    def emotion(self, rest: str):
        self.screen.emotions(self.conversation.emotions)

    def memory(self, rest: str):
        self.screen.memory(self.conversation.memory, contents(self.conversation.memory), self.conversation.messages)

    def forget(self, rest: str):
        if not rest or not all(number.isdecimal() for number in rest.split()):
            raise ValueError("/forget needs numbers of messages, which /memory shows: /forget 0 1")
        self.conversation.forget(*map(int, rest.split()))
        self.screen.note(f"{len(self.conversation)} messages are remembered.")

    def save(self, rest: str):
        (file,) = shlex.split(rest) if rest else (self.file,)
        if file is None:
            raise ValueError("/save needs the name of a file: /save talk.safetensors")
        self.conversation.save(file)
        self.screen.note(f"Saved {len(self.conversation)} messages to {file}.")

    def load(self, rest: str):
        if not rest:
            raise ValueError("/load needs the name of a file: /load talk.safetensors")
        self.conversation = Conversation.load(*shlex.split(rest), self.responder)
        self.file = None  # what is saved after each exchange is another conversation
        self.screen.note(f"Going on after {len(self.conversation)} messages.")

    def new(self, rest: str):
        before = self.conversation
        kept = before.transcript is not None
        self.conversation = Conversation(
            self.responder, system=before.system, recent_turns=before.recent_turns, keep_transcript=kept
        )
        self.file = None
        self.screen.note("A new conversation.")

    def system(self, rest: str):
        if rest:
            self.conversation.system = rest
        current = self.conversation.system or self.responder.processor.system_prompt
        self.screen.note(f"System prompt: {current or 'none'}")

    def set(self, rest: str):
        name, _, value = rest.partition(" ")
        if name and name not in SETTINGS:
            raise ValueError(f"/set knows {', '.join(SETTINGS)}, not {name}.")
        if name and value.strip() == "off" and name != "max_new_tokens":
            self.settings.pop(name, None)
        elif name:
            self.settings[name] = setting(name, value.strip())
        self.screen.note(", ".join(f"{key} {value}" for key, value in self.settings.items()))

    def help(self, rest: str):
        self.screen.commands(HELP)


def setting(name: str, value: str) -> int | float:
    """
    A setting of a chat, by its name.

    Raises:
        `ValueError`: If it is out of range.
    """
    kind, least, most = SETTINGS[name]
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} is a number from {least} to {most}, not {value or 'nothing'}.")
    return number
