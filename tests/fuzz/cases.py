"""
How many cases there are, and how each is drawn. `FUZZ_CASES` says how many files are tried, and the other tests follow
it; `FUZZ_SEED` draws others. `FUZZ_ONLY` repeats one: the message of a failure is the command.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager


CASES = int(os.environ.get("FUZZ_CASES", 200))
SEED = int(os.environ.get("FUZZ_SEED", 0))
ONLY = os.environ.get("FUZZ_ONLY")
SHOWN = 10  # failures of one test


def try_all(test: str, count: int, attempt: Callable[[random.Random], str | None]):
    """
    Calls `attempt` with a generator of random numbers for each case, and fails if it returns what is wrong.

    Args:
        test (`str`): What pytest calls the test, after the folder.
        count (`int`): Number of cases.
        attempt (`Callable`): Tries a case.
    """
    numbers = range(count) if ONLY is None else [int(ONLY)]
    told = {number: attempt(random.Random(f"{SEED} {test} {number}")) for number in numbers}
    faults = [f"{command(test, number)}\n{fault}" for number, fault in told.items() if fault is not None]
    shown = "\n\n".join(faults[:SHOWN])
    assert not faults, f"{len(faults)} of {len(told)} cases. Each is repeated by the command above it.\n\n{shown}"


def command(test: str, number: int | None = None) -> str:
    """What repeats a case, or all of a test."""
    which = f"FUZZ_CASES={CASES}" if number is None else f"FUZZ_ONLY={number}"
    return f"FUZZ_SEED={SEED} {which} python -m pytest 'tests/fuzz/{test}'"


@contextmanager
def documented(*kinds: type[Exception]) -> Iterator[None]:
    """Lets those errors pass that the package itself raises and words: of these kinds, in one line of plain signs."""
    try:
        yield
    except kinds as error:
        assert type(error) in kinds, f"{type(error).__name__} is none of the errors that are documented"
        line, raised = str(error), error.__traceback__
        while raised.tb_next is not None:
            raised = raised.tb_next
        where = raised.tb_frame.f_code.co_filename
        assert "transformers_empathav" in where, f"{where} raised it, which knows nothing of the user: {line}"
        assert line.isprintable() and 10 < len(line) < 1000, f"no clear line: {line!r}"
        assert not isinstance(error.__cause__, MemoryError), f"it takes too much memory: {line}"
