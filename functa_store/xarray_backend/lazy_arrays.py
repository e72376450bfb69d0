"""Lazy arrays that decode the examples and points of an index, and nothing else."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from functa_store.decode.descriptions import CHANNEL, example_columns
from functa_store.decode.functaset import check_memory
from functa_store.decode.shared_functaset import SharedFunctaset
from functa_store.domains.cells import GridPoints
from functa_store.store.reading.rows import Rows

STRINGS = np.dtype("O", metadata={"element_type": str})
"""What xarray takes for strings of any length, and writes without looking at each of them."""

POINTS_AT_ONCE = 2**18
"""Most points, each with an example of its own, that are located and decoded together."""


class DecodedArray(BackendArray):
    """Values of some examples at some points, decoded when they are asked for; the last dimension is the channel.

    Examples and coordinates are variables of small size, which are indexed as the array is; what is left of them
    is decoded. So no point is evaluated that was not asked for, and dimensions that they do not share are decoded
    as their outer product.

    Args:
        shared: The functaset.
        dims: All dimensions but the last, in order.
        examples: Places in the functaset, along some of the dimensions.
        coords: One variable for each axis of the domain, along some of the dimensions.
        clip: Clip to the data range.
    """

    def __init__(
        self,
        shared: SharedFunctaset,
        dims: tuple[str, ...],
        examples: xr.Variable,
        coords: tuple[xr.Variable, ...],
        *,
        clip: bool,
    ) -> None:
        self.shared, self.dims, self.examples, self.coords, self.clip = shared, (*dims, CHANNEL), examples, coords, clip
        sizes = _sizes(examples, *coords) | {CHANNEL: shared.functaset.features.num_channels}
        self.shape = tuple(sizes[dim] for dim in self.dims)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        """The values that a key selects."""
        keys, new_sizes = _keys_by_dimension(key, self.dims)
        examples, *coords = (_select(variable, keys) for variable in (self.examples, *self.coords))
        selected = self._decode(examples, coords).isel({CHANNEL: keys[CHANNEL]})
        sizes = new_sizes | {dim: selected.sizes[dim] for dim in self.dims if dim in selected.dims}
        return selected.set_dims(sizes).values

    def _decode(self, examples: xr.Variable, coords: list[xr.Variable]) -> xr.Variable:
        functaset, along = self.shared.functaset, _sizes(*coords)
        together, channels = _sizes(examples) | along, functaset.features.num_channels
        if set(examples.dims) & set(along):
            values = self._scattered(examples, coords, together)
        else:
            check_memory(examples.size, math.prod(along.values()), channels)
            values = functaset.decode(examples.values.ravel(), coords=_points(coords, along), clip=self.clip)
        return xr.Variable((*together, CHANNEL), values.reshape(*together.values(), channels))

    def _scattered(self, examples: xr.Variable, coords: list[xr.Variable], sizes: dict[Any, int]) -> np.ndarray:
        """Values of points that each have an example of their own, some of them at a time."""
        functaset, first, shape = self.shared.functaset, next(iter(sizes)), tuple(sizes.values())
        check_memory(1, math.prod(shape), functaset.features.num_channels)
        values = np.empty((*shape, functaset.features.num_channels), np.float32)
        rows = max(1, POINTS_AT_ONCE // max(1, math.prod(shape[1:])))
        for start in range(0, shape[0], rows):
            part = slice(start, start + rows)
            index, *along = (_select(variable, {first: part}) for variable in (examples, *coords))
            some = sizes | {first: len(values[part])}
            points = _point_list(along, some)
            decoded = functaset.decode_scattered(index.set_dims(some).values.ravel(), points, clip=self.clip)
            values[part] = decoded.reshape(values[part].shape)
        return values


class ColumnArray(BackendArray):
    """One value per example, read when it is asked for.

    Args:
        shared: The functaset.
        column: One of `example_columns`.
    """

    def __init__(self, shared: SharedFunctaset, column: str) -> None:
        self.shared, self.column = shared, column
        self.shape, is_text = (len(shared.functaset),), column in ("id", "split")
        self.dtype = STRINGS if is_text else self._rows.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        """The values that a key selects."""
        return np.asarray(self._rows[key.tuple[0]], self.dtype)

    @property
    def _rows(self) -> Rows:
        return example_columns(self.shared.functaset.store)[self.column]


class ModulationsArray(BackendArray):
    """The modulations, vectors or grids, read when they are asked for.

    Args:
        shared: The functaset.
    """

    def __init__(self, shared: SharedFunctaset) -> None:
        self.shared = shared
        self.shape, self.dtype = shared.functaset.modulations.shape, shared.functaset.modulations.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        """The numbers that a key selects."""
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Numbers by an index along each dimension, independent of each other."""
        examples, *others = key
        values = self.shared.functaset.modulations[examples]
        leading = values.ndim - len(others)  # none if `examples` is an integer
        for axis in reversed(range(len(others))):  # from the last one on, since an integer drops its dimension
            values = values[(slice(None),) * (leading + axis) + (others[axis],)]
        return values


def _keys_by_dimension(
    key: indexing.ExplicitIndexer, dims: tuple[str, ...]
) -> tuple[Mapping[str, Any], dict[Any, int]]:
    """The part of a key for each dimension, and the sizes of the new dimensions of a vectorised one, which come first.

    An array of a vectorised key becomes a variable of those new dimensions along which it varies: xarray hands out
    arrays that are broadcast against each other, so that three channels of a point look like three points.
    """
    if not isinstance(key, indexing.VectorizedIndexer):
        return dict(zip(dims, key.tuple, strict=True)), {}
    shape = np.broadcast_shapes(*(part.shape for part in key.tuple if isinstance(part, np.ndarray)))
    new_sizes: dict[Any, int] = {f"new dimension {i}": n for i, n in enumerate(shape)}
    parts = [_varying(part, list(new_sizes)) if isinstance(part, np.ndarray) else part for part in key.tuple]
    return dict(zip(dims, parts, strict=True)), new_sizes


def _varying(array: np.ndarray, dims: list[str]) -> xr.Variable:
    """An array without the dimensions along which it is constant."""
    for axis in reversed(range(array.ndim)):
        if array.shape[axis] and (array == (first := array.take([0], axis))).all():
            array, dims = first.squeeze(axis), dims[:axis] + dims[axis + 1 :]
    return xr.Variable(dims, array)


def _select(variable: xr.Variable, keys: Mapping[str, Any]) -> xr.Variable:
    return variable.isel({dim: keys[str(dim)] for dim in variable.dims if dim in keys})


def _sizes(*variables: xr.Variable) -> dict[Any, int]:
    """Dimensions of some variables in the order of their appearance."""
    return {dim: size for variable in variables for dim, size in variable.sizes.items()}


def _points(coords: list[xr.Variable], sizes: dict[Any, int]) -> GridPoints | np.ndarray:
    """Points in the order of dimensions: a grid if each coordinate has one of its own."""
    if [dim for variable in coords for dim in variable.dims] == list(sizes) and all(v.ndim < 2 for v in coords):
        return GridPoints([np.atleast_1d(variable.values) for variable in coords])
    return _point_list(coords, sizes)


def _point_list(coords: list[xr.Variable], sizes: dict[Any, int]) -> np.ndarray:
    points = np.empty((math.prod(sizes.values()), len(coords)), np.float32)
    for axis, variable in enumerate(coords):
        points[:, axis] = variable.set_dims(sizes).values.ravel()
    return points
