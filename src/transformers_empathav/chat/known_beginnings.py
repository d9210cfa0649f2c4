"""Beginnings of conversations that a server knows already, so that a client that resends all pays for what is new."""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence

from ..processing.messages_empathav import Turn
from .conversation import Conversation
from .state_store import StateStore


STATE_BYTES = 4096  # of what is not counted: names, texts, emotions


def first_key(*settings: str | None) -> str:
    """The key of a conversation in which nothing was said: what it depends on besides its messages."""
    return digest(*(b"" if value is None else b"=" + value.encode() for value in settings))


def next_key(key: str, turn: Turn) -> str:
    """The key of a conversation with one more message: of its role, its text and the content of its clips."""
    parts = [turn.role.encode()]
    for part in turn.parts:
        kind, source = ("text", part) if isinstance(part, str) else (part.kind, part.source)
        parts += [kind.encode(), source if isinstance(source, bytes) else source.encode()]
    return digest(key.encode(), *parts)


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts, each after its length, so that no two lists give the same bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


def parts_of(conversation: Conversation) -> dict[int, int]:
    """Bytes of what a conversation holds, by identity, since forks hold much in common."""
    sizes = {id(conversation): STATE_BYTES}
    sizes |= {id(part): part.nbytes for part in (conversation.memory, conversation.cache)}
    return sizes | {id(said): said.vectors.nbytes for said in conversation.tail if said.vectors is not None}


class Ledger:
    """Bytes of all that is held; what several hold counts once."""

    def __init__(self):
        self.nbytes = 0
        self._holders: Counter[int] = Counter()

    def add(self, sizes: dict[int, int]):
        self.nbytes += sum(size for part, size in sizes.items() if not self._holders[part])
        self._holders.update(sizes.keys())

    def remove(self, sizes: dict[int, int]):
        self._holders.subtract(sizes.keys())
        gone = [part for part in sizes if not self._holders[part]]
        self.nbytes -= sum(sizes[part] for part in gone)
        for part in gone:
            del self._holders[part]


class KnownBeginnings:
    r"""
    Conversations by the keys of their messages. Those used longest ago leave when all take too many bytes.

    Any thread may use it. What it returns is a fork: two requests that go on from the same beginning have their own.

    Args:
        responder ([`Responder`]): Goes on with what comes out of the store.
        max_bytes (`int`): Bytes of memories, KV caches and emotion vectors that stay.
        store ([`StateStore`], *optional*): Where conversations are kept beyond this process.
    """

    def __init__(self, responder, max_bytes: int, store: StateStore | None = None):
        self.responder, self.max_bytes, self.store = responder, max_bytes, store
        self._known: OrderedDict[str, Conversation] = OrderedDict()
        self._ledger, self._lock = Ledger(), threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self._ledger.nbytes

    def longest(self, keys: Sequence[str]) -> tuple[int, Conversation | None]:
        r"""
        The longest known beginning.

        Args:
            keys (`Sequence[str]`): Key after each message.

        Returns:
            `tuple`: the number of its messages, and a fork of its conversation; 0 and `None` where none is known.
        """
        with self._lock:
            count = next((count for count in range(len(keys), 0, -1) if keys[count - 1] in self._known), 0)
            if count:
                self._known.move_to_end(keys[count - 1])
            found = self._known[keys[count - 1]].fork() if count else None
        if self.store is not None:
            for longer in range(len(keys), count, -1):
                stored = self.store.load(keys[longer - 1], self.responder)
                if stored is not None:
                    self.keep(keys[longer - 1], stored)
                    return longer, stored.fork()
        return count, found

    def keep(self, key: str, conversation: Conversation, after: str | None = None):
        r"""
        Keeps a conversation, which nobody may go on with.

        Args:
            key (`str`): Its key.
            conversation ([`Conversation`]): The conversation.
            after (`str`, *optional*):
                Key of the beginning that it went on from. That shares its KV cache from now on: a cache serves all
                prompts that begin as it does.
        """
        with self._lock:
            if (before := self._remove(after)) is not None:
                before.cache = conversation.cache
                self._add(after, before)
            self._remove(key)
            self._add(key, conversation)
            while self.nbytes > self.max_bytes:
                self._remove(next(iter(self._known)))

    def store_as(self, key: str, conversation: Conversation):
        """Writes a conversation to the store, where there is one."""
        if self.store is not None:
            self.store.save(key, conversation)

    def _add(self, key: str, conversation: Conversation):
        self._known[key] = conversation
        self._ledger.add(parts_of(conversation))

    def _remove(self, key: str | None) -> Conversation | None:
        conversation = self._known.pop(key, None)
        if conversation is not None:
            self._ledger.remove(parts_of(conversation))
        return conversation
