"""How is one value per example read, without reading those of all examples?"""

import numpy as np

from functa_store.store.arrays import SmallArray
from functa_store.store.objects import REQUESTS_AT_A_TIME
from functa_store.store.parts import Part, Selection, gather, take


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
        threads = 1 if len(self._chunks) == self._array.grid[0] else REQUESTS_AT_A_TIME
        return gather(rows, self._array.chunks[0], self._read, threads)

    def _read(self, part: Part) -> np.ndarray:
        if part.position not in self._chunks:
            self._chunks[part.position] = self._array.chunk((part.position,))
        return take(self._chunks[part.position], part.inside)


class ColumnInMemory:
    """The same for values that are in memory; what is read from it is not them.

    Args:
        values: One per example.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some examples, in the order asked for."""
        return take(self._values, rows)
