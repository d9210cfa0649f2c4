"""One thread that computes for all others."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class ModelThread:
    """
    Calls what many threads want of one model, in a thread of its own and in the order in which it is asked for.

    One thread, not a lock: each thread that multiplies brings further ones, as many as there are cores. OpenMP lets
    them all sleep between two products as soon as there are more than cores, and a token takes twice the time.
    """

    def __init__(self):
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._own = self._pool.submit(threading.get_ident).result()

    def __call__(self, function: Callable, *args, **kwargs):
        """
        What the function returns or raises. Called in this thread itself, it is not waited for.

        Raises:
            `RuntimeError`: the thread was closed.
        """
        if threading.get_ident() == self._own:
            return function(*args, **kwargs)
        try:
            answer = self._pool.submit(function, *args, **kwargs)
        except RuntimeError:
            raise RuntimeError("The responder was closed: load it again.") from None
        return answer.result()

    def calls(self, function: Callable) -> Callable:
        """The function, to be called in this thread by whoever calls it."""

        def call(*args, **kwargs):
            return self(function, *args, **kwargs)

        return call

    def close(self):
        """Ends the thread once all is done that was asked for."""
        self._pool.shutdown()
