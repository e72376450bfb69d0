"""Work on another thread: one call behind the caller, or values made ahead of it."""

import collections
import concurrent.futures
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def one_behind(function: Callable[..., Any]) -> Iterator[Callable[..., None]]:
    """Call a function in a thread of its own, one call behind its caller.

    Yields:
        The same function, which returns at once; the next call, and the end of the block, wait for the last
        one and raise what it raised. Whatever ends the block, a call that has begun is finished.
    """
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="behind") as pool:
        running: list[concurrent.futures.Future] = []

        def call(*arguments: Any) -> None:
            while running:
                running.pop().result()
            running.append(pool.submit(function, *arguments))

        yield call
        while running:
            running.pop().result()


def made_ahead(values: Iterator[Any], count: int) -> Iterator[Any]:
    """The same values in the same order, made by a thread, `count` of them before they are asked for.

    Args:
        values: What is to be made; used by one thread at a time.
        count: At least 1.

    Raises:
        Exception: What making a value raised, when that value is asked for.
    """
    end = object()
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = collections.deque(pool.submit(next, values, end) for _ in range(count))
        while (value := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, values, end))
            yield value
    finally:
        if sys is not None and not sys.is_finalizing():  # what shutting down needs is gone then, and so is the thread
            pool.shutdown(cancel_futures=True)
