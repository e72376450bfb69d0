"""The accessor ds.functa: other resolutions and points, while the examples are still the functaset's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from functa_store.decode.descriptions import CHANNEL, EXAMPLE, example_columns
from functa_store.domains.cells import Region
from functa_store.domains.domain import Domain
from functa_store.errors import ExampleIndexError, GridError, StoreMismatchError
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.xarray_backend.backend import Opened

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
    examples, columns = dataset[EXAMPLE].variable, example_columns(opened.store)
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
        flat = (evenly_to_both_ends(examples.size - run + 1, RUNS)[:, None] + np.arange(run)).ravel()
    else:
        flat = np.arange(examples.size)
    places = np.unravel_index(flat, examples.shape) if examples.ndim else ()
    return {dim: xr.Variable("compared", along) for dim, along in zip(examples.dims, places, strict=True)}


def _values(variable: xr.Variable, where: dict[Any, xr.Variable]) -> np.ndarray:
    return np.atleast_1d(variable.isel(where).values)


ADVICE = (
    "Use `.functa` on what xr.open_dataset(..., engine='functa') returned, or on a selection of it, and combine what "
    "it gives."
)


@xr.register_dataset_accessor("functa")
class FunctaAccessor:
    """Decode the examples of a dataset anew: those that are left after `isel`, `sel` and masks.

    Both methods are lazy: what they return is decoded when it is looked at, and only as far as it is. They read some
    `id` and `mse` at once, by which they know whether the examples are still those of the functaset.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def at(self, **points: Any) -> xr.DataArray:
        """The functions themselves at any points, where `interp` would interpolate between decoded ones.

        Args:
            **points: A position for each axis, in [0, 1] or degrees: a number, an array, or a DataArray. Vectors are
                combined with each other, each along its own axis; DataArrays along their dimensions, as by
                `Dataset.interp`. One that has a dimension of the examples has another point for each of them.

        Returns:
            Features of dimensions (dimensions of the examples, dimensions of the points, channel).

        Raises:
            GridError: If an axis is missing or unknown, a point is not in the domain, or coordinates along a dimension
                that two share disagree.
            StoreMismatchError: If the dataset no longer says which functaset it is from, or has other examples by now.
        """
        opened = self._opened()
        kept = self._kept(opened)
        if set(points) != set(opened.axes):
            raise GridError(f"expected positions along each of {opened.axes}, got them along {tuple(points)}")
        domain = opened.store.spec.domain
        named = zip(domain.axes, opened.axes, strict=True)
        given = {name: _positions(domain, axis, name, points[name]) for axis, name in named}
        examples = kept[EXAMPLE]
        dims = _common_dims([examples, *given.values()])
        along = [array.variable.to_base_variable() for array in given.values()]
        features = opened.features(dims, examples.variable.to_base_variable(), along, cached=True)
        for axis, array in given.items():
            names = [name for name in array.coords if name not in (*opened.axes, *kept.coords)]
            others = {name: array.coords[name].reset_coords(drop=True) for name in names}
            kept = kept.assign_coords({**others, axis: array.variable})
        return _with_features(kept, opened, features)[opened.names["features"]]

    def to_resolution(
        self, resolution: int | Sequence[int] | None = None, *, region: Region | None = None
    ) -> xr.Dataset:
        """The same examples on another grid.

        Args:
            resolution: Points inside the region, one number for all axes or one per axis; None means the
                spacing of the archive.
            region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain, whatever was
                selected of it.

        Raises:
            GridError: If resolution or region do not fit the domain.
            StoreMismatchError: If the dataset no longer says which functaset it is from, or has other examples by now.
        """
        opened = self._opened()
        kept = self._kept(opened)
        along, coordinates = opened.axis_coordinates(resolution, region)
        examples = kept[EXAMPLE].variable.to_base_variable()
        dims = (*map(str, examples.dims), *opened.axes)
        for coordinate in coordinates:
            kept = kept.assign_coords(coordinate)
        return _with_features(kept, opened, opened.features(dims, examples, along, cached=True))

    def _opened(self) -> Opened:
        opened = self._dataset.encoding.get("functa")
        if not isinstance(opened, Opened) or EXAMPLE not in self._dataset.coords:
            raise StoreMismatchError(
                "this dataset does not say, or no longer, which examples of which functaset it has; `where` forgets "
                f"it, and so does dropping the coordinate {EXAMPLE!r}. {ADVICE}"
            )
        if isinstance(self._dataset.indexes.get(EXAMPLE), pd.MultiIndex):
            raise StoreMismatchError(
                f"{opened.store.path}: the examples of this dataset are stacked with another dimension; unstack first"
            )
        if not holds_examples_of(opened, self._dataset):
            raise StoreMismatchError(
                f"{opened.store.path}: the examples of this dataset, by {EXAMPLE!r}, {opened.names['id']!r} and "
                f"{opened.names['mse']!r}, are no longer those of the functaset; `concat`, `open_mfdataset`, other "
                f"numbers, and dropping one of these make it so. {ADVICE}"
            )
        return opened

    def _kept(self, opened: Opened) -> xr.Dataset:
        """The coordinates of the examples, and nothing else."""
        dims = set(self._dataset[EXAMPLE].dims)
        kept = [name for name, array in self._dataset.coords.items() if set(array.dims) <= dims]
        return self._dataset[kept].drop_vars([CHANNEL, *opened.axes], errors="ignore")


def _with_features(kept: xr.Dataset, opened: Opened, features: xr.Variable) -> xr.Dataset:
    return kept.assign({opened.names["features"]: features}).assign_coords(opened.channel_coordinate())


def _positions(domain: Domain, axis: str, name: str, given: Any) -> xr.DataArray:
    """Positions along an axis; a plain vector has the axis as its dimension."""
    wanted = f"{name}: expected a number, a vector or a DataArray of positions"
    try:
        array = given if isinstance(given, xr.DataArray) else xr.DataArray(given, dims=(name,)[: np.ndim(given)])
        values = np.asarray(array.values)
    except (TypeError, ValueError) as error:
        raise GridError(f"{wanted}; give a table as a DataArray, whose dimensions have names: {error}") from error
    if values.dtype.kind not in "iuf":
        raise GridError(f"{wanted}, got {values.dtype}")
    domain.check_positions(axis, values)
    return array


def _common_dims(arrays: Sequence[xr.DataArray]) -> tuple[str, ...]:
    """Dimensions of examples and points in the order of their appearance.

    Raises:
        GridError: If two arrays disagree along one, or one is the channels'.
    """
    try:
        xr.align(*arrays, join="exact", copy=False)
    except ValueError as error:
        raise GridError(f"positions disagree with each other or with the examples: {error}") from error
    dims = tuple(dict.fromkeys(str(dim) for array in arrays for dim in array.dims))
    if CHANNEL in dims:
        raise GridError(f"positions have the dimension {CHANNEL!r}, which values have already; rename it")
    return dims
