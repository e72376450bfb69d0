"""How is an array on disk indexed by example, as if it were a numpy array?"""

import operator
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.errors import ExampleIndexError


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
        if isinstance(key, tuple):
            raise ExampleIndexError(
                f"{self.name}: cannot index {len(self)} examples by {key!r}; choose examples first, then the rest"
            )
        if isinstance(key, slice):
            return self._read_slice(range(len(self))[key])
        if not isinstance(key, bool | np.bool_) and hasattr(key, "__index__") and not np.ndim(key):
            return self._read(self._positions(np.array([operator.index(key)])))[0]
        return self._read_array(np.asarray(key))

    def _read_slice(self, rows: range) -> np.ndarray:
        ascending = rows if rows.step > 0 else rows[::-1]
        if not ascending:
            return np.empty((0, *self.shape[1:]), self.dtype)
        values = self._read(slice(ascending.start, ascending.stop, ascending.step))
        return values if rows.step > 0 else values[::-1]

    def _read_array(self, key: np.ndarray) -> np.ndarray:
        if key.dtype == bool and key.shape == (len(self),):
            positions = np.flatnonzero(key)
        elif key.size == 0 and key.dtype != bool:
            positions = key.astype(np.int64)
        elif key.dtype.kind in "iu":
            positions = self._positions(key)
        else:
            raise ExampleIndexError(
                f"{self.name}: cannot index {len(self)} examples with {key.dtype} of shape {key.shape}; "
                "use an integer, a slice, integers, or a mask with one value per example."
            )
        if positions.size == 0:
            return np.empty((*positions.shape, *self.shape[1:]), self.dtype)
        if positions.ndim == 1:
            return self._read(positions)
        return self._read(positions.ravel()).reshape(*positions.shape, *self.shape[1:])

    def _positions(self, key: np.ndarray) -> np.ndarray:
        lowest, highest = key.min(), key.max()
        if lowest < -len(self) or highest >= len(self):
            raise ExampleIndexError(
                f"{self.name}: example {lowest if lowest < -len(self) else highest} does not exist; there are "
                f"{len(self)}, counted from 0 to {len(self) - 1} or from -1 to {-len(self)}."
            )
        positions = key.astype(np.int64, copy=False)
        return np.where(positions < 0, positions + len(self), positions) if lowest < 0 else positions

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        if self._table is None:
            self._table = self._open_table()
        return np.asarray(self._table[rows])
