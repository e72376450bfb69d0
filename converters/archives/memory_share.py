"""Memory shared by the threads that read an archive, so that not all hold something large at once."""

import contextlib
import os
import threading
from collections.abc import Iterator

from functa_store.errors import MemberError

DECODED_BYTES = 64 << 20
"""Bytes of decoded files that stay in memory, so that the examples cut from one do not each decode it."""

ROOM = 1 << 29
"""Bytes that members of archives take in memory at once, those apart that take more by themselves."""

_SMALL = 1 << 22
_free = ROOM
_changed = threading.Condition()
_thread = threading.local()


@contextlib.contextmanager
def room(stop: threading.Event | None = None) -> Iterator[None]:
    """A scope until whose end this thread keeps the memory that `take_room` gave it.

    Args:
        stop: Set when what is done in here is not wanted any more; see `check_wanted`.
    """
    if getattr(_thread, "holds", None) is not None:  # inside another one
        yield
        return
    _thread.holds, _thread.stop = 0, stop
    try:
        yield
    finally:
        _give_back()
        _thread.holds = _thread.stop = None


def check_wanted() -> None:
    """Called now and then by what takes long, so that Ctrl-C need not wait for it.

    Raises:
        MemberError: If the result is not wanted any more; nobody will read the message.
    """
    stop: threading.Event | None = getattr(_thread, "stop", None)
    if stop is not None and stop.is_set():
        raise MemberError("was not read to its end: the survey stopped")


def take_room(num_bytes: int) -> None:
    """Wait until there is room for so many bytes, in all, of this thread; does nothing outside `room`.

    Who waits for more holds nothing meanwhile, so that two who do cannot wait for each other.
    """
    global _free
    wanted = min(num_bytes, ROOM)
    holds = getattr(_thread, "holds", None)
    if holds is None or wanted <= max(_SMALL, holds):
        return
    _give_back()
    with _changed:
        _changed.wait_for(lambda: _free >= wanted)
        _free -= wanted
    _thread.holds = wanted


def _start_again() -> None:
    """In a forked process there are no other threads, whatever they held."""
    global _free, _changed
    _free, _changed = ROOM, threading.Condition()


os.register_at_fork(after_in_child=_start_again)


def _give_back() -> None:
    global _free
    if _thread.holds:
        with _changed:
            _free += _thread.holds
            _changed.notify_all()
        _thread.holds = 0
