"""Which examples does an index name?"""

from collections.abc import Sequence

import numpy as np

from functa_store.errors import ExampleIndexError

Index = int | slice | Sequence[int] | np.ndarray
"""An example, or several: a slice, integers, or a boolean mask over all examples."""


def select(name: str, index: Index, num_examples: int) -> range | np.ndarray:
    """The places of the examples that an index names, as numpy would find them, in its order.

    Args:
        name: Path or URL of the functaset, for messages.
        index: See `Index`; a single integer is one example.
        num_examples: Examples of the functaset.

    Returns:
        Integers in [0, num_examples), none of them in memory for a slice.

    Raises:
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if isinstance(index, slice):
        return range(num_examples)[index]
    given = np.asarray(index)
    if given.dtype == bool and given.shape == (num_examples,):
        return np.flatnonzero(given)
    positions = np.atleast_1d(given)
    if positions.size == 0 and positions.ndim == 1 and given.dtype != bool:
        return positions.astype(np.int64)
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        raise ExampleIndexError(
            f"{name}: cannot index {num_examples} examples with {index!r}; use an integer, a slice, "
            "integers, or a mask with one value per example"
        )
    outside = (positions < -num_examples) | (positions >= num_examples)
    if outside.any():
        raise ExampleIndexError(
            f"{name}: example {positions[outside][0]} does not exist; there are {num_examples}, "
            "counted from 0 or from -1"
        )
    return np.where(positions < 0, positions + num_examples, positions).astype(np.int64)


def to_array(selected: range | np.ndarray) -> np.ndarray:
    """The places as an array."""
    return np.arange(selected.start, selected.stop, selected.step) if isinstance(selected, range) else selected
