"""Memory: what this process may still take, by the machine, its control group and its own limits; blocks; caches."""

import collections
import contextlib
import os
import resource
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

import psutil

CGROUPS = "/sys/fs/cgroup"
"""Where Linux shows control groups, by which containers and batch systems bound memory."""


def available_bytes(cgroups: str = CGROUPS, membership: str = "/proc/self/cgroup") -> int:
    """Bytes that this process may take before the machine, its control group or a limit refuses or kills it.

    Args:
        cgroups: Folder of the control groups, version 1 or 2.
        membership: File that says which of them this process is in.
    """
    bounds = [psutil.virtual_memory().available, *_left_in_cgroups(cgroups, membership), *_left_by_limits()]
    return max(0, min(bounds))


def gibibytes(num_bytes: int | float) -> str:
    """A number of bytes for a person."""
    return f"{num_bytes / 2**30:,.3g} GiB"


BLOCK_NUMBERS = 2**17
"""Numbers of a table that are computed with at a time: 1 MB in float64."""


def row_blocks(num_rows: int, row_numbers: int = 1) -> Iterator[slice]:
    """Rows of a table, in order, `BLOCK_NUMBERS` or one row at a time: what is computed of them needs little memory.

    Args:
        num_rows: How many there are.
        row_numbers: Numbers of each.
    """
    rows = max(1, BLOCK_NUMBERS // max(1, row_numbers))
    return (slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows))


def _left_by_limits() -> Iterator[int]:
    """What `ulimit -v` and `ulimit -d` leave."""
    used = psutil.Process().memory_info()
    for limit, taken in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, getattr(used, "data", used.vms))):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            yield soft - taken


def _left_in_cgroups(cgroups: str, membership: str) -> Iterator[int]:
    """What each control group that this process is in leaves, and each that those are in."""
    for line in _text(membership).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            top, names = cgroups, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top, names = os.path.join(cgroups, "memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inside = [name for name in path.split("/") if name not in ("", "..")]
        for depth in range(len(inside) + 1):
            yield from _left_in(os.path.join(top, *inside[:depth]), *names)


def _left_in(folder: str, limit: str, usage: str) -> Iterator[int]:
    with contextlib.suppress(ValueError):  # there is none, or it is "max"
        bound, used = (int(_text(os.path.join(folder, name))) for name in (limit, usage))
        facts = dict(
            line.split()[:2] for line in _text(os.path.join(folder, "memory.stat")).splitlines() if " " in line
        )
        yield bound - used + int(facts.get("inactive_file", 0))  # the page cache gives way


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


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
