"""How are the batches of a loader seen as arrays of another library?"""

from collections.abc import Callable, Iterator, Sized
from typing import Any


class View:
    """The batches of a loader, converted; iterating moves the loader on.

    Args:
        loader: The loader.
        deliver: Begins an iteration over converted batches.
    """

    def __init__(self, loader: Sized, deliver: Callable[[], Iterator[Any]]) -> None:
        self._loader, self._deliver = loader, deliver

    def __len__(self) -> int:
        """Batches that iterating gives from the beginning."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return self._deliver()
