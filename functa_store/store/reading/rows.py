"""NumPy-like access to an array by example: indices as positions, rows of several parts in order."""

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from functa_store.errors import ExampleIndexError
from functa_store.store.storage.server_calls import map_in_threads

Selection = slice | np.ndarray
"""Rows of an array, at least one: a slice with bounds and a positive step, or integers from 0 on."""


def take(array: np.ndarray, rows: Selection) -> np.ndarray:
    """A copy of some rows."""
    return array[rows].copy() if isinstance(rows, slice) else array.take(rows, axis=0)


class Part(NamedTuple):
    """Some rows of one part, such as a shard.

    Attributes:
        position: Of the part among all of them.
        inside: The rows, counted from its first.
        where: Their places in the result.
    """

    position: int
    inside: Selection
    where: Selection


def gather(rows: Selection, per_part: int, read: Callable[[Part], np.ndarray], threads: int = 1) -> np.ndarray:
    """Rows of an array that is read part by part, in the order asked for.

    Args:
        rows: Which rows.
        per_part: Rows of a part.
        read: Gives the rows of one part in an array of their own.
        threads: Parts that are read at a time.
    """
    first, *others = by_part(rows, per_part)
    found = read(first)  # before memory is taken for as many rows as a stranger may claim
    if not others:
        return found
    count = len(range(rows.start, rows.stop, rows.step)) if isinstance(rows, slice) else len(rows)
    values = np.empty((count, *found.shape[1:]), found.dtype)
    values[first.where] = found
    for part, found in zip(others, _read_all(others, read, threads), strict=True):
        values[part.where] = found
    return values


def _read_all(parts: list[Part], read: Callable[[Part], np.ndarray], threads: int) -> Iterator[np.ndarray]:
    if threads == 1:
        yield from map(read, parts)
    else:
        yield from map_in_threads(read, parts, threads=threads, name="read")


def by_part(rows: Selection, per_part: int) -> list[Part]:
    """Rows, at least one, by the part of equal length that they lie in."""
    if isinstance(rows, slice):
        return list(_slice_by_part(range(rows.start, rows.stop, rows.step), per_part))
    which, inside = np.divmod(rows, per_part)
    order = np.argsort(which, kind="stable")
    touched, starts = np.unique(which[order], return_index=True)
    places = np.split(order, starts[1:])
    return [Part(position, inside[p], p) for position, p in zip(touched.tolist(), places, strict=True)]


def _slice_by_part(rows: range, per_part: int) -> Iterator[Part]:
    done = 0
    while done < len(rows):
        position, first = divmod(rows[done], per_part)
        inside = slice(first, min(per_part, rows.stop - position * per_part), rows.step)
        count = len(range(inside.start, inside.stop, inside.step))
        yield Part(position, inside, slice(done, done + count))
        done += count


Index = int | slice | Sequence[int] | np.ndarray
"""An example, or several: a slice, integers, or a boolean mask over all examples."""


def positions(name: str, index: Any, count: int) -> range | np.ndarray:
    """The places of the examples that an index names, as numpy would find them, in its order.

    Args:
        name: What is indexed, for messages.
        index: See `Index`; integers may have any number of axes.
        count: Examples that there are.

    Returns:
        A range for a slice, else int64 in the shape of the index, none of them negative; a mask gives a vector.

    Raises:
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if isinstance(index, np.ndarray) and index.ndim:  # first, since batches are read by it
        return _of_array(name, index, count)
    if isinstance(index, slice):
        try:
            return range(count)[index]
        except (TypeError, ValueError) as error:
            raise ExampleIndexError(f"{name}: cannot index {count} examples by {index!r}: {error}") from error
    if isinstance(index, tuple):
        raise ExampleIndexError(
            f"{name}: cannot index {count} examples by {index!r}; choose examples first, then the rest"
        )
    if not isinstance(index, bool | np.bool_) and hasattr(index, "__index__") and not np.ndim(index):
        return _checked(name, np.array(operator.index(index)), count)
    return _of_array(name, index, count)


def places_of(name: str, index: Index, count: int) -> range | np.ndarray:
    """The same where a list of examples is meant; a single integer is a list of one.

    Raises:
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    found = positions(name, index, count)
    if isinstance(found, range) or found.ndim == 1:
        return found
    if found.ndim:
        raise ExampleIndexError(
            f"{name}: cannot take examples by an index of shape {found.shape}; use an integer, a slice, integers, "
            "or a mask with one value per example"
        )
    return found[None]


def as_array(places: range | np.ndarray) -> np.ndarray:
    """Places as an array."""
    return np.arange(places.start, places.stop, places.step) if isinstance(places, range) else places


def _of_array(name: str, index: Any, count: int) -> np.ndarray:
    array = np.asarray(index)
    if array.dtype.kind in "iu" and array.size:
        return _checked(name, array, count)
    if array.dtype == bool and array.shape == (count,):
        return np.flatnonzero(array)
    if array.size == 0 and array.dtype != bool:
        return array.astype(np.int64)
    raise ExampleIndexError(
        f"{name}: cannot index {count} examples with {array.dtype} of shape {array.shape}; "
        "use an integer, a slice, integers, or a mask with one value per example."
    )


def _checked(name: str, array: np.ndarray, count: int) -> np.ndarray:
    lowest, highest = array.min(), array.max()
    if lowest < -count or highest >= count:
        raise ExampleIndexError(
            f"{name}: example {lowest if lowest < -count else highest} does not exist; there are "
            f"{count}, counted from 0 to {count - 1} or from -1 to {-count}."
        )
    found = array.astype(np.int64, copy=False)
    return np.where(found < 0, found + count, found) if lowest < 0 else found


@runtime_checkable
class RowTable(Protocol):
    """What `Rows` reads from: slices with a positive step, and integer arrays within bounds."""

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


class FindsRows(Protocol):
    """A `RowTable` that may take the integers of a caller as they are.

    Attributes:
        finds_rows: Whether it finds negative ones as numpy does, and raises IndexError for what is not there. That
            saves a look at all of them beforehand, which takes a tenth of the time of a batch.
    """

    finds_rows: bool


class FollowingRows:
    """Rows of several tables as if they were one, see `RowTable`.

    Args:
        tables: What is read from, in order.
        starts: The first row of each, and the number of all.
        dtype: Of what is returned.
    """

    def __init__(self, tables: Sequence[RowTable], starts: np.ndarray, dtype: np.dtype) -> None:
        self._tables, self._starts, self._dtype = tables, starts, dtype

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        places = np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, slice) else rows
        which = np.searchsorted(self._starts, places, side="right") - 1
        found = None
        for number in np.unique(which):
            mine = np.flatnonzero(which == number)
            values = self._tables[number][places[mine] - self._starts[number]]
            if len(mine) == len(places):
                return values.astype(self._dtype, copy=False)
            if found is None:
                found = np.empty((len(places), *values.shape[1:]), self._dtype)
            found[mine] = values
        assert found is not None, "rows to read are at least one"
        return found


class ChosenRows:
    """Some rows of an array in an order of their own, see `RowTable`.

    Args:
        rows: The array, of which a copy is opened, since whoever opened it may let it go.
        chosen: Which of its rows.
    """

    def __init__(self, rows: "Rows", chosen: np.ndarray) -> None:
        self._rows, self._chosen = copy.copy(rows), chosen

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some of them, in the order asked for."""
        return self._rows._read(self._chosen[rows] if isinstance(rows, slice) else self._chosen.take(rows))


class Rows:
    """One value, vector or grid per example, read when it is asked for.

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
        self._finds_rows = False

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes of the whole array."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Rows {self.name} {self.shape} {self.dtype}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None, "_finds_rows": False}

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
        if self._finds_rows and isinstance(key, np.ndarray) and key.ndim == 1 and key.size and key.dtype.kind == "i":
            with contextlib.suppress(IndexError):  # what is wrong is said below
                return self._read(key)
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
            self._finds_rows = getattr(self._table, "finds_rows", False)
        return np.asarray(self._table[rows])


def following(name: str, parts: Sequence[Rows]) -> Rows:
    """Rows of several arrays, one after the other, as one array."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    return Rows(name, shape, np.result_type(*(part.dtype for part in parts)), functools.partial(table_of, parts))


def table_of(parts: Sequence[Rows]) -> FollowingRows:
    """What reads several arrays; of copies that it opens, since whoever opened the arrays may let them go."""
    dtype = np.result_type(*(part.dtype for part in parts))
    return FollowingRows([copy.copy(part) for part in parts], np.cumsum([0, *map(len, parts)]), dtype)
