"""What was used lately, within a limit?"""

import collections
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

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
