"""Are the examples of a dataset still those of its functaset?"""

from typing import Any

import numpy as np
import xarray as xr

from functa_store.decode.variables import EXAMPLE, columns_of
from functa_store.errors import ExampleIndexError
from functa_store.xarray_backend.dataset import Opened

MOST_COMPARED, RUNS = 1024, 8
"""Examples that are compared, and into how many runs they fall where there are more, so that few chunks are read."""


def holds_examples_of(opened: Opened, dataset: xr.Dataset) -> bool:
    """Whether names and errors are those of the functaset at the numbers in `example`.

    All examples are compared if they are few, else runs of them from the first to the last: whatever joins
    datasets or numbers examples anew changes most of them.

    Args:
        opened: The functaset.
        dataset: With the coordinate `example`.
    """
    examples, columns = dataset[EXAMPLE].variable, columns_of(opened.store)
    named = {column: columns[column] for column in ("id", "mse")}
    if any(opened.names[column] not in dataset.variables for column in named):
        return False
    found = {column: dataset[opened.names[column]].variable for column in named}
    if any(variable.sizes != examples.sizes for variable in found.values()):
        return False
    where = _compared(examples)
    try:
        expected = {column: rows[_values(examples, where)] for column, rows in named.items()}
    except ExampleIndexError:
        return False
    return all(np.array_equal(_values(found[column], where), expected[column]) for column in named)


def _compared(examples: xr.Variable) -> dict[Any, xr.Variable]:
    """Places in a dataset of the examples that are compared."""
    run = MOST_COMPARED // RUNS
    if examples.size > MOST_COMPARED:
        flat = (np.linspace(0, examples.size - run, RUNS).astype(int)[:, None] + np.arange(run)).ravel()
    else:
        flat = np.arange(examples.size)
    places = np.unravel_index(flat, examples.shape) if examples.ndim else ()
    return {dim: xr.Variable("compared", along) for dim, along in zip(examples.dims, places, strict=True)}


def _values(variable: xr.Variable, where: dict[Any, xr.Variable]) -> np.ndarray:
    return np.atleast_1d(variable.isel(where).values)
