"""How does work go on while its results are written?"""

import concurrent.futures
import contextlib
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
