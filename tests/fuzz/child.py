"""A process that tries case after case within limits; one that dies or hangs is replaced."""

import logging
import multiprocessing
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path


SECONDS = 20  # a case may take so long
BYTES = 2 * 2**30  # and so much memory beyond what the process has at its start
PROCESSES = multiprocessing.get_context("fork")  # the child has all that was imported, and need not wait for it


class Child:
    """
    Calls `check` in another process. Use it as a context.

    Args:
        check (`Callable`): Called with each case; it raises where something is wrong.
    """

    def __init__(self, check: Callable):
        self.check, self.process = check, None

    def __call__(self, case) -> str | None:
        """What is wrong with a case, `None` if nothing is."""
        if self.process is None:
            self.pipe, other = PROCESSES.Pipe()
            self.process = PROCESSES.Process(target=serve, args=(self.check, other), daemon=True)
            self.process.start()
            other.close()
        try:
            self.pipe.send_bytes(pickle.dumps(case))
            if self.pipe.poll(SECONDS):
                return self.pipe.recv()
            fault = f"It takes longer than {SECONDS} s."
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode
            fault = f"The process ended by {signal.Signals(-code).name if code < 0 else code}."
        self.end()
        return fault

    def end(self):
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.process = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error):
        self.end()


def serve(check: Callable, pipe):
    """Answers cases with what is wrong with each, until the other end is closed."""
    logging.disable(logging.CRITICAL)  # warnings are no faults
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, held + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            case = pipe.recv_bytes()
        except EOFError:
            return
        try:
            check(pickle.loads(case))
            told = None
        except BaseException:
            told = traceback.format_exc()
        pipe.send(told)
