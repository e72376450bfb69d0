"""How is an array on disk indexed by example, as if it were a numpy array?"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.store.positions import positions


@runtime_checkable
class RowTable(Protocol):
    """What `Rows` reads from: slices with a positive step, and integer arrays within bounds."""

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


class Rows:
    """One value or vector per example, read when it is asked for.

    Indexed along the first axis as a numpy array is: by integer, slice, list, mask or integer
    array; the result is always numpy. Opened on first use, and again after pickling.

    Args:
        name: What messages call the array.
        shape: Shape of the whole array.
        dtype: Data type of what is returned.
        open_table: Opens what is read from.

    Attributes:
        shape: Shape of the whole array.
        dtype: Data type of what is returned.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype, open_table: Callable[[], RowTable]) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self._open_table = open_table
        self._table: RowTable | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Rows {self.name} {self.shape} {self.dtype}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None}

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """The whole array in memory."""
        if copy is False:
            raise ValueError(f"{self.name} lies on disk; it cannot become a numpy array without a copy")
        return np.asarray(self[:], dtype)

    def __getitem__(self, key: Any) -> Any:
        """The rows that a key selects.

        Raises:
            ExampleIndexError: If the key is of another kind, or names an example that is not there.
            StoreFormatError: If the rows are missing or damaged.
        """
        found = positions(self.name, key, len(self))
        if isinstance(found, range):
            return self._read_range(found)
        if found.size == 0:
            return np.empty((*found.shape, *self.shape[1:]), self.dtype)
        if found.ndim == 1:
            return self._read(found)
        return self._read(found.ravel()).reshape((*found.shape, *self.shape[1:]))[()]

    def _read_range(self, rows: range) -> np.ndarray:
        ascending = rows if rows.step > 0 else rows[::-1]
        if not ascending:
            return np.empty((0, *self.shape[1:]), self.dtype)
        values = self._read(slice(ascending[0], ascending[-1] + 1, ascending.step))
        return values if rows.step > 0 else values[::-1]

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        if self._table is None:
            self._table = self._open_table()
        return np.asarray(self._table[rows])
