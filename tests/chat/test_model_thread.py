"""One thread computes for all: in order, with what it returns and raises, and without waiting for itself."""

import threading

import pytest

from transformers_empathav.chat.model_thread import ModelThread


@pytest.fixture
def thread():
    made = ModelThread()
    yield made
    made.close()


def test_whoever_calls_it_is_in_one_thread(thread):
    found, callers = [], [threading.Thread(target=lambda: found.append(thread(threading.get_ident))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4 and len(set(found)) == 1 and found[0] != threading.get_ident()


def test_calls_are_made_in_order(thread):
    free, order = threading.Event(), []
    callers = [threading.Thread(target=thread, args=(free.wait,))]
    callers[0].start()
    for number in range(5):
        callers.append(threading.Thread(target=thread, args=(order.append, number)))
        callers[-1].start()
        while thread._pool._work_queue.qsize() <= number:
            pass
    free.set()
    for caller in callers:
        caller.join()
    assert order == [0, 1, 2, 3, 4]


def test_it_may_call_itself(thread):
    assert thread(lambda: thread.calls(int)("7") + thread(int, "1", base=2)) == 8


def test_what_fails_there_fails_here(thread):
    with pytest.raises(ValueError, match="invalid literal"):
        thread(int, "x")
    assert thread(int, "7") == 7


def test_a_closed_one_says_so():
    thread = ModelThread()
    thread.close()
    with pytest.raises(RuntimeError, match="was closed"):
        thread(int, "7")
