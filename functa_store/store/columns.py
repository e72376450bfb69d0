"""How is one value per example read, without reading those of all examples?"""

import concurrent.futures

import numpy as np

from functa_store.store.arrays import SmallArray
from functa_store.store.parts import Selection, by_part, take

THREADS = 16
"""Chunks that are read at a time."""


class Column:
    """Values of a small array by example, see `rows.RowTable`; chunks that were read stay in memory.

    Args:
        array: One value per example.
    """

    def __init__(self, array: SmallArray) -> None:
        self._array = array
        self._chunks: dict[int, np.ndarray] = {}

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some examples, in the order asked for."""
        first, *others = by_part(rows, self._array.chunks[0])
        found = take(self._chunk(first.position), first.inside)  # before memory is taken for as many as are claimed
        if not others:
            return found
        count = len(range(rows.start, rows.stop, rows.step)) if isinstance(rows, slice) else len(rows)
        values = np.empty(count, self._array.dtype)
        values[first.where] = found
        with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="column") as pool:
            for part, chunk in zip(others, pool.map(self._chunk, [part.position for part in others]), strict=True):
                values[part.where] = chunk[part.inside]
        return values

    def _chunk(self, position: int) -> np.ndarray:
        if position not in self._chunks:
            self._chunks[position] = self._array.chunk((position,))
        return self._chunks[position]
