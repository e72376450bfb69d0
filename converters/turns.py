"""Turns for what takes much memory, so that threads that read an archive do not all hold something large at once."""

import contextlib
import threading
from collections.abc import Iterator

LARGE = 1 << 25
"""Bytes in memory above which something waits for its turn."""

_turn = threading.Lock()
_thread = threading.local()


@contextlib.contextmanager
def turns() -> Iterator[None]:
    """What is large in here has its turn until the end."""
    if getattr(_thread, "holds", None) is not None:  # inside another one
        yield
        return
    _thread.holds = False
    try:
        yield
    finally:
        if _thread.holds:
            _turn.release()
        _thread.holds = None


def take_turn(num_bytes: int) -> None:
    """Wait, if so many bytes are large, until no other thread has a turn; does nothing outside `turns`."""
    if num_bytes > LARGE and getattr(_thread, "holds", None) is False:
        _turn.acquire()
        _thread.holds = True
