"""Protocol of a format that vectors are read from."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

Batches = Callable[[np.ndarray], Iterator[np.ndarray]]
"""From the indices of an epoch's batches, shape (batches, batch), to the batches, float32 of shape (batch, size)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A format and its own fast way of reading shuffled batches.

    Attributes:
        name: What the table calls it.
        module: The module that it needs.
        how: The calls that read a batch.
        write: Writes a table of float32 vectors into an empty folder.
        open: Opens what was written.
        shuffles: "any order" can be asked for; the format permutes "all rows" itself; or it only mixes, in "a
            buffer", what lies together.
    """

    name: str
    module: str
    how: str
    write: Callable[[np.ndarray, Path], None]
    open: Callable[[Path], Batches]
    shuffles: Literal["any order", "all rows", "a buffer"] = "any order"

    @property
    def is_installed(self) -> bool:
        """Whether it can be measured in this environment."""
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None


def each(read: Callable[[np.ndarray], np.ndarray]) -> Batches:
    """Batches of a format that reads any rows at once."""
    return lambda order: map(read, order)


def stacked(vectors: list[np.ndarray]) -> np.ndarray:
    """A batch of its vectors."""
    return np.stack(vectors)


def joined(parts: list[bytes | memoryview], size: int) -> np.ndarray:
    """A batch of the bytes of its vectors; faster than stacking them."""
    return np.frombuffer(b"".join(parts), np.float32).reshape(len(parts), size)
