"""A function mapped over values by several threads, which an interruption does not wait for.

The standard library's pools wait for their threads, also when Ctrl-C was pressed and when the process ends.
"""

import collections
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from functa_store.store.calls import give_up_in

T = TypeVar("T")

SECONDS_TO_END = 0.5
"""Seconds that threads get to notice that nobody wants their results any more."""


def map_in_threads(function: Callable[..., T], *values: Iterable[Any], threads: int, name: str = "map") -> Iterator[T]:
    """What a function returns for values, in their order, by several threads; like the executors' `map`.

    At most twice as many results as threads are made ahead. If one call raises, or the caller stops asking, calls to
    servers that are under way are given up, and the threads are not waited for.

    Args:
        function: Is called with one value of each of `values`.
        values: As many iterables as it has arguments; they are asked in the calling thread.
        threads: How many.
        name: Of the threads, for debuggers.
    """
    work = _Work(function)
    running: list[threading.Thread] = []
    rest, asked = zip(*values, strict=False), collections.deque[_Call]()
    try:
        for arguments in itertools.islice(rest, 2 * threads):
            asked.append(work.ask(arguments))
            if len(running) < threads:
                running.append(threading.Thread(target=work.do, name=f"{name}_{len(running)}", daemon=True))
                running[-1].start()
        while asked:
            yield asked.popleft().result()
            asked.extend(work.ask(arguments) for arguments in itertools.islice(rest, 1))
        work.end()
        for thread in running:
            thread.join()
    finally:
        work.end()
        for thread in running:
            give_up_in(thread)
        for thread in running:
            thread.join(SECONDS_TO_END / len(running))


class _Call:
    """One value and, later, what the function returned for it, or raised."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments, self._done = arguments, threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def make(self, function: Callable[..., Any]) -> None:
        try:
            self._result = function(*self.arguments)
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self) -> Any:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


class _Work:
    """Calls to be made, for threads to take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls, self._changed, self._ended = collections.deque[_Call](), threading.Condition(), False

    def ask(self, arguments: tuple[Any, ...]) -> _Call:
        call = _Call(arguments)
        with self._changed:
            self._calls.append(call)
            self._changed.notify()
        return call

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._calls.clear()
            self._changed.notify_all()

    def do(self) -> None:
        while (call := self._next()) is not None:
            call.make(self._function)

    def _next(self) -> _Call | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._ended)
            return self._calls.popleft() if self._calls else None
