"""Where may an interrupted computation leave its state, and find it again?"""

from collections.abc import Iterable
from typing import Protocol, TypeVar, runtime_checkable

S = TypeVar("S", bound=tuple)


@runtime_checkable
class Snapshots(Protocol):
    """Keeps the last state of one computation; `checkpoint.py` keeps it on disk.

    A state is a named tuple of arrays, numbers and trees of them.
    """

    def load(self, like: S) -> S | None:
        """The last snapshot kept, in the structure of `like`; None if there is none."""
        ...

    def offer(self, snapshot: tuple) -> None:
        """Keep the snapshot if enough time has passed since the last one."""
        ...

    def save(self, snapshot: tuple) -> None:
        """Keep the snapshot now."""
        ...


def keep(states: Iterable[S], latest: S, snapshots: Snapshots | None) -> S:
    """Go through the states of a computation, and leave the last one behind whatever ends it.

    Args:
        states: One state after the other.
        latest: The state before the first of them.
        snapshots: Where to leave them; None for nowhere.

    Returns:
        The last state.
    """
    try:
        for state in states:
            latest = state
            if snapshots is not None:
                snapshots.offer(latest)
    finally:
        if snapshots is not None:
            snapshots.save(latest)
    return latest
