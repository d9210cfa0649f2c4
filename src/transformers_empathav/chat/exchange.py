"""One request on its way: threads answer it, the server's event loop passes on what they write."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from .answering import Answerer, Begun
from .reply import Reply
from .server_schema import ChatRequest


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


class Exchange:
    r"""
    Answers a request in threads of a pool.

    Args:
        answerer ([`Answerer`]): Answers.
        body ([`ChatRequest`]): The request.
        seconds (`float`): It is given up after this time.
        finished (`Callable`): Called once, when no thread works on it any more.
    """

    def __init__(self, answerer: Answerer, body: ChatRequest, seconds: float, finished: Callable[[], None]):
        self.answerer, self.body, self.finished = answerer, body, finished
        self.started, self.begun = monotonic(), None
        self.seconds = seconds
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue()
        self._cancelled, self._left, self._lock = threading.Event(), body.n, threading.Lock()

    def start(self, pool: ThreadPoolExecutor):
        pool.submit(self._begin, pool)

    def cancel(self):
        """Ends the work soon."""
        self._cancelled.set()

    async def next(self, gone: Callable):
        r"""
        The next event.

        Args:
            gone (`Callable`): Awaited now and then; true where nobody waits any more.

        Returns:
            `tuple[int, str | Reply]`: number of the choice, and its next words, or its whole at the end.

        Raises:
            `TimeoutError`: the request takes too long.
            `Cancelled`: nobody waits any more.
            `Exception`: what went wrong in a thread.
        """
        while True:
            left = self.started + self.seconds - monotonic()
            if left <= 0:
                raise TimeoutError
            if await gone():
                raise Cancelled
            try:
                async with asyncio.timeout(min(left, 1.0)):
                    event = await self._events.get()
            except TimeoutError:
                continue
            if isinstance(event, BaseException):
                raise event
            return event

    # In threads

    def _begin(self, pool: ThreadPoolExecutor):
        try:
            self._go_on()
            self.begun = self.answerer.begin(self.body.messages, self._go_on)
        except BaseException as error:
            self._end(self.body.n, error)
            return
        for choice in range(1, self.body.n):
            pool.submit(self._write, choice, self.begun)
        self._write(0, self.begun)

    def _write(self, choice: int, begun: Begun):
        stream, last = self.answerer.stream(begun, **self.body.generation(choice)), None
        try:
            for piece in stream:
                self._go_on()
                if isinstance(piece, Reply):
                    last = (choice, piece)
                else:
                    self._post((choice, piece))
        except BaseException as error:
            last = error
        stream.close()
        self._end(1, last)

    def _go_on(self):
        if self._cancelled.is_set():
            raise Cancelled

    def _end(self, count: int, event):
        """So many replies have ended. Who hears of it may ask again at once, so it is counted first."""
        with self._lock:
            self._left -= count
            last = not self._left
        if last:
            self.finished()
        self._post(event)

    def _post(self, event):
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            pass  # the server has ended
