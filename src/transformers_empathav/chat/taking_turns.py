"""A lock for what many threads want of one model."""

import threading
from collections import deque


class Turns:
    """A lock that is given in the order in which it is asked for. Who has it may take it again."""

    def __init__(self):
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: int | None = None
        self._depth = 0

    def __enter__(self) -> "Turns":
        me, ticket = threading.get_ident(), object()
        with self._changed:
            if self._holder != me:
                self._waiting.append(ticket)
                self._changed.wait_for(lambda: self._holder is None and self._waiting[0] is ticket)
                self._waiting.popleft()
                self._holder = me
            self._depth += 1
        return self

    def __exit__(self, *error):
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._holder = None
                self._changed.notify_all()
