"""Which examples does an index name?"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from functa_store.errors import ExampleIndexError

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
