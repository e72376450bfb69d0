"""Thread-safe LRU caches bounded by total cost."""

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, of which those that were used last are kept; may be shared by threads.

    Args:
        limit: Most that the kept values may cost together, in whatever unit `put` is told; 0 keeps nothing.

    Attributes:
        cost: What the kept values cost together.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.cost = 0
        self._kept: collections.OrderedDict[Hashable, tuple[V, int]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> V | None:
        """The value, if it is still kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: V, cost: int) -> None:
        """Keep a value in place of those that were not used for longest; one that costs more than all is not kept."""
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self.cost -= before
            if cost > self.limit:
                return
            self._kept[key] = value, cost
            self.cost += cost
            while self.cost > self.limit:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.cost -= dropped


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
