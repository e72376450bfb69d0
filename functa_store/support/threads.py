"""Work on another thread, one call behind the caller or values made ahead; refusal of work in forks without threads."""

import collections
import concurrent.futures
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from functa_store.errors import ConfigError


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


class Birthplace:
    """The process that an object was made in, or unpickled in.

    Threads do not survive a fork: whatever runs some, as JAX and clients of buckets do, waits for ever in the child.
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type["Birthplace"], tuple[()]]:
        return Birthplace, ()

    def check(self, what: str) -> None:
        """Refuse something that threads of the object are needed for.

        Raises:
            ConfigError: In a forked process.
        """
        if os.getpid() != self._process:
            raise _refused(what)


def check_jax(what: str) -> None:
    """Refuse something that JAX is needed for; one that was forked before JAX began starts its own.

    Raises:
        ConfigError: In a process that was forked when JAX had begun.
    """
    if _forked_from_jax:
        raise _refused(what)


def _refused(what: str) -> ConfigError:
    return ConfigError(
        f"{what} is not possible in a forked process, in which threads are missing; start workers with "
        'multiprocessing_context="spawn" (torch), or use num_workers=0'
    )


_forked_from_jax = False


def has_jax_begun() -> bool:
    """Whether JAX has threads and devices in this process, which it says nowhere in public."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and getattr(bridge, "backends_are_initialized", lambda: True)()


def _note_jax() -> None:
    global _forked_from_jax  # a fact about the process
    _forked_from_jax = has_jax_begun()


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_note_jax)
