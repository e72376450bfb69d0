"""Where may an interrupted computation leave its state, and find it again?"""

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
