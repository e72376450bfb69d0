"""Which decoded files stay in memory, so that the examples cut from one do not each decode it?"""

import collections
import threading
from collections.abc import Callable

import numpy as np

KEPT_BYTES = 64 << 20
"""Bytes of decoded files that stay at most, unless a single one has more."""


class Kept:
    """The decoded files that were used last; safe to use from threads."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._files: collections.OrderedDict[str, np.ndarray] = collections.OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, name: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """A file as it is kept, or else decoded; two threads that want the same one at once both decode it."""
        with self._lock:
            if (kept := self._files.get(name)) is not None:
                self._files.move_to_end(name)
                return kept
        decoded = decode()
        with self._lock:
            if name not in self._files:
                self._files[name] = decoded
                self._bytes += decoded.nbytes
            while len(self._files) > 1 and self._bytes > self._limit:
                self._bytes -= self._files.popitem(last=False)[1].nbytes
        return decoded
