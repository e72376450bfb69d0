"""Thread-safe LRU cache bounded by total cost."""

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class LRUCache(Generic[V]):
    """Values by key, of which those that were used last are kept; may be shared by threads.

    Args:
        limit: Most that the kept values may cost together, in whatever unit `put` is told; 0 keeps nothing.
        keeps_last: Keep the last value whatever it costs, so that what is cut from one large value makes it once.

    Attributes:
        cost: What the kept values cost together.
    """

    def __init__(self, limit: int, *, keeps_last: bool = False) -> None:
        self.limit = limit
        self.cost = 0
        self._least = int(keeps_last)
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
        """Keep a value in place of those that were not used for longest."""
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self.cost -= before
            if cost > self.limit and not self._least:
                return
            self._kept[key] = value, cost
            self.cost += cost
            while self.cost > self.limit and len(self._kept) > self._least:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.cost -= dropped

    def get_or_make(self, key: Hashable, make: Callable[[], V], cost: Callable[[V], int]) -> V:
        """The value, made and kept if it is not there; two threads that want the same one at once both make it."""
        if (kept := self.get(key)) is not None:
            return kept
        value = make()
        self.put(key, value, cost(value))
        return value
