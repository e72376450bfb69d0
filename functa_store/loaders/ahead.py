"""How is the next value made while the last one is used?"""

import collections
import concurrent.futures
import sys
from collections.abc import Iterator
from typing import Any


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
